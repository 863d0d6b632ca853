"""Every error Parley raises on purpose, by whose fault it is.

    ParleyError
    ├── UsageError       you asked for something that cannot be done      exit 2
    ├── PolicyRefused    a rule of an organisation forbids it             exit 3
    ├── PeerLost         a peer cannot be reached or has gone silent      exit 4
    ├── PeerMisbehaved   a peer broke the protocol; carries what it sent  exit 5
    ├── PeerAborted      a peer stopped, for the reason it gives          exit 6
    ├── BudgetExhausted  a quota, memory or privacy budget is used up     exit 7
    └── ProtocolBug      our own mistake; please report it                exit 70

Each carries a stable ``code`` (kebab case, never reused, explained by ``parley explain CODE``), the private
text for our own log, one thing to do, and a public text: the only words that may cross to a peer. That is
never made of the text of a foreign exception.
"""

from typing import ClassVar


def more(code: str) -> str:
    """The command that explains an error."""
    return f"parley explain {code}"


class ParleyError(Exception):
    """The root of the tree above.

    Args:
        code: stable identifier such as ``"label-constant"``.
        what: what happened, to which object, what was expected; lower case, no secrets.
        remedy: one thing to do about it.
        public: the text a peer may see; by default only the family and the code.

    """

    family: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, what: str, *, remedy: str, public: str | None = None) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.remedy = remedy
        self.public = public if public is not None else f"{self.family}: {code}"

    def __str__(self) -> str:
        return f"{self.what} [{self.code}]\n  what to do: {self.remedy}\n  more: {more(self.code)}"

    def record(self) -> dict[str, str]:
        """The error as ``--json`` prints it."""
        return {"family": self.family, "code": self.code, "what": self.what, "remedy": self.remedy}


class UsageError(ParleyError):
    """The request or the data it names cannot be worked with."""

    family = "usage"
    exit_code = 2


class PolicyRefused(ParleyError):
    """An organisation's rule forbids what was asked."""

    family = "refused"
    exit_code = 3


class PeerError(ParleyError):
    """What the three families about a peer share: its name."""

    def __init__(self, code: str, what: str, *, peer: str, remedy: str, public: str | None = None) -> None:
        super().__init__(code, what, remedy=remedy, public=public)
        self.peer = peer

    def record(self) -> dict[str, str]:
        """The error as ``--json`` prints it."""
        return super().record() | {"peer": self.peer}


class PeerLost(PeerError):
    """A peer cannot be reached, or said nothing within the deadline.

    The others of the same run are told which peer.
    """

    family = "peer-lost"
    exit_code = 4

    def __init__(self, code: str, what: str, *, peer: str, remedy: str, public: str | None = None) -> None:
        super().__init__(code, what, peer=peer, remedy=remedy, public=public or f"{peer} is lost: {code}")


class PeerMisbehaved(PeerError):
    """A peer sent what the protocol does not allow."""

    family = "peer-misbehaved"
    exit_code = 5


class PeerAborted(PeerError):
    """A peer stopped the conversation and said why; ``cause`` is the family of its own error."""

    family = "peer-aborted"
    exit_code = 6

    def __init__(
        self,
        code: str,
        what: str,
        *,
        peer: str,
        remedy: str,
        public: str | None = None,
        cause: str = ParleyError.family,
    ) -> None:
        super().__init__(code, what, peer=peer, remedy=remedy, public=public)
        self.cause = cause


class BudgetExhausted(ParleyError):
    """A quota, a memory limit or a privacy budget is used up."""

    family = "budget"
    exit_code = 7


class ProtocolBug(ParleyError):
    """Our own program broke its own protocol."""

    family = "bug"
    exit_code = 70
