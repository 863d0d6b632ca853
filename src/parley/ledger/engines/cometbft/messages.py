"""The two envelopes of ABCI: every message travels as one field of a ``Request`` or a ``Response``.

Both are a protobuf ``oneof``: the field's number says which message it is, and an empty message is
still written. On the socket each envelope has its length before it as a varint (ABCI 2.0
specification, "Client and Server", section "Socket").
"""

from collections.abc import Mapping
from typing import Final, TypeVar

from parley.ledger.engines.cometbft import requests, responses, wire
from parley.ledger.engines.cometbft.requests import Request
from parley.ledger.engines.cometbft.responses import Response

_Message = TypeVar("_Message")

REQUESTS: Final[Mapping[int, type[Request]]] = {
    1: requests.EchoRequest,
    2: requests.FlushRequest,
    3: requests.InfoRequest,
    5: requests.InitChainRequest,
    6: requests.QueryRequest,
    8: requests.CheckTxRequest,
    11: requests.CommitRequest,
    12: requests.ListSnapshotsRequest,
    13: requests.OfferSnapshotRequest,
    14: requests.LoadSnapshotChunkRequest,
    15: requests.ApplySnapshotChunkRequest,
    16: requests.PrepareProposalRequest,
    17: requests.ProcessProposalRequest,
    18: requests.ExtendVoteRequest,
    19: requests.VerifyVoteExtensionRequest,
    20: requests.FinalizeBlockRequest,
}

RESPONSES: Final[Mapping[int, type[Response]]] = {
    1: responses.ExceptionResponse,
    2: responses.EchoResponse,
    3: responses.FlushResponse,
    4: responses.InfoResponse,
    6: responses.InitChainResponse,
    7: responses.QueryResponse,
    9: responses.CheckTxResponse,
    12: responses.CommitResponse,
    13: responses.ListSnapshotsResponse,
    14: responses.OfferSnapshotResponse,
    15: responses.LoadSnapshotChunkResponse,
    16: responses.ApplySnapshotChunkResponse,
    17: responses.PrepareProposalResponse,
    18: responses.ProcessProposalResponse,
    19: responses.ExtendVoteResponse,
    20: responses.VerifyVoteExtensionResponse,
    21: responses.FinalizeBlockResponse,
}

_NUMBERS: Final[Mapping[type, int]] = {
    kind: number for numbers in (REQUESTS, RESPONSES) for number, kind in numbers.items()
}
_PROPOSAL: Final = wire.delimited_field(_NUMBERS[requests.PrepareProposalRequest], b"")[:-1]


def encode_envelope(message: Request | Response) -> bytes:
    """The message in its envelope, without the length that goes before it on the socket."""
    return wire.delimited_field(_NUMBERS[type(message)], wire.encode(message))


def decode_request(envelope: bytes | memoryview) -> Request:
    """The request in an envelope.

    Raises:
        PeerMisbehaved: it is malformed, unknown, or not exactly one.

    """
    return _decode(REQUESTS, envelope)


def decode_response(envelope: bytes | memoryview) -> Response:
    """The response in an envelope; raises as `decode_request` does."""
    return _decode(RESPONSES, envelope)


def asks_for_proposal(envelope: bytes) -> bool:
    """Whether a request is for our proposal, told by its first bytes alone."""
    return envelope.startswith(_PROPOSAL)


def _decode(kinds: Mapping[int, type[_Message]], envelope: bytes | memoryview) -> _Message:
    fields = list(wire.fields(memoryview(envelope)))
    if len(fields) != 1:
        raise wire.malformed(f"an envelope with {len(fields)} messages, expected 1")
    [(number, content)] = fields
    kind = kinds.get(number)
    if kind is None or isinstance(content, int):
        raise wire.malformed(
            f"an envelope with field {number}, which is no message of ABCI 2.0 over a socket"
        )
    return wire.decode(kind, content)
