"""How much of anything the front of a served model takes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What nobody may exceed.

    Attributes:
        ids: of a request.
        body: bytes of one.
        headers: bytes of its line and headers.
        waiting: requests for scores at the same time; who comes beyond is told to come back.
        connections: at the same time; one beyond is answered with that and closed.
        head_seconds: within which a request's line and headers have to arrive.
        body_seconds: within which the body has to arrive.
        answer_seconds: within which there is an answer, were it an error.
    """

    ids: int = 1000
    body: int = 1 << 20
    headers: int = 32 * 1024
    waiting: int = 256
    connections: int = 512
    head_seconds: float = 10.0
    body_seconds: float = 10.0
    answer_seconds: float = 30.0
