"""ABCI messages against bytes that CometBFT encoded (tests/data/abci_vectors/main.go)."""

import json
from pathlib import Path

import pytest

from parley.core.errors import PeerMisbehaved
from parley.ledger.engines.cometbft import messages, parts, requests, responses

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "abci_vectors" / "vectors.json").read_text())
KEY = bytes.fromhex(VECTORS["key"])
ADDRESS = bytes.fromhex(VECTORS["address"])
HASH = b"\xab" * 32
TIME = parts.Timestamp(1770091506, 789_000_001)
TXS = (b"a=1", b"", b"\x07" * 300)
VALIDATORS = tuple(parts.ValidatorUpdate(parts.PublicKey(KEY), power) for power in (10, 0))
MISBEHAVIOUR = (
    parts.Misbehaviour(
        kind=parts.MisbehaviourKind.DUPLICATE_VOTE,
        validator=parts.Validator(ADDRESS, 10),
        height=5,
        time=TIME,
        total_voting_power=40,
    ),
    parts.Misbehaviour(
        kind=parts.MisbehaviourKind.LIGHT_CLIENT_ATTACK,
        validator=parts.Validator(),
        time=parts.Timestamp(-62135596800),
    ),
)
EVENTS = (parts.Event("tx", (parts.EventAttribute("kind", "vote", index=True), parts.EventAttribute())),)

REQUESTS = {
    "echo": requests.EchoRequest("héllo"),
    "flush": requests.FlushRequest(),
    "info": requests.InfoRequest("0.39.4", 11, 8, "2.0.0"),
    "query": requests.QueryRequest(b"\x01", "/p2p/filter/id/00ff", -1, prove=True),
    "check": requests.CheckTxRequest(b"a=1", 1),
    "commit": requests.CommitRequest(),
    "snapshot": requests.ListSnapshotsRequest(),
    "offer": requests.OfferSnapshotRequest(),
    "load": requests.LoadSnapshotChunkRequest(),
    "apply": requests.ApplySnapshotChunkRequest(),
    "init": requests.InitChainRequest(TIME, "consortium", VALIDATORS, b"{}", 1),
    "prepare": requests.PrepareProposalRequest(4194304, TXS, 7, TIME),
    "process": requests.ProcessProposalRequest(TXS, 7, TIME),
    "extend": requests.ExtendVoteRequest(),
    "verify": requests.VerifyVoteExtensionRequest(),
    "finalize": requests.FinalizeBlockRequest(TXS, MISBEHAVIOUR, HASH, 1 << 40, TIME, ADDRESS),
}
RESPONSES = {
    "exception": responses.ExceptionResponse("no"),
    "echo": responses.EchoResponse("héllo"),
    "flush": responses.FlushResponse(),
    "info": responses.InfoResponse("parley", "0.1", 1, 300, HASH),
    "init": responses.InitChainResponse(HASH),
    "query": responses.QueryResponse(1, "no", b"k", b"v", 7, "p"),
    "check": responses.CheckTxResponse(2**32 - 1, b"d", "no", 1, "p"),
    "commit": responses.CommitResponse(5),
    "snapshot": responses.ListSnapshotsResponse(),
    "offer": responses.OfferSnapshotResponse(responses.Restoration.ABORT),
    "load": responses.LoadSnapshotChunkResponse(),
    "apply": responses.ApplySnapshotChunkResponse(responses.Restoration.ABORT),
    "prepare": responses.PrepareProposalResponse(TXS),
    "process": responses.ProcessProposalResponse(responses.Vote.REJECT),
    "extend": responses.ExtendVoteResponse(),
    "verify": responses.VerifyVoteExtensionResponse(responses.Vote.ACCEPT),
    "finalize": responses.FinalizeBlockResponse(
        EVENTS, (parts.ExecTxResult(3, b"d", "l", EVENTS, "p"), parts.ExecTxResult()), VALIDATORS, HASH
    ),
}


def test_every_message_has_a_vector():
    assert {type(one) for one in REQUESTS.values()} == set(messages.REQUESTS.values())
    assert {type(one) for one in RESPONSES.values()} == set(messages.RESPONSES.values())
    assert VECTORS["requests"].keys() == REQUESTS.keys()
    assert VECTORS["responses"].keys() == RESPONSES.keys()


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_read_as_cometbft_wrote_it(name):
    assert messages.decode_request(bytes.fromhex(VECTORS["requests"][name])) == REQUESTS[name]


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_is_written_as_cometbft_writes_it(name):
    assert messages.encode_envelope(RESPONSES[name]).hex() == VECTORS["responses"][name]


@pytest.mark.parametrize("name", RESPONSES)
def test_a_response_comes_back(name):
    assert messages.decode_response(messages.encode_envelope(RESPONSES[name])) == RESPONSES[name]


@pytest.mark.parametrize("name", ["echo", "flush", "info", "query", "check", "commit", "snapshot"])
def test_a_request_without_fields_that_are_left_out_is_written_likewise(name):
    assert messages.encode_envelope(REQUESTS[name]).hex() == VECTORS["requests"][name]


@pytest.mark.parametrize(
    "envelope",
    [b"", b"\x12\x00\x12\x00", b"\xaa\x01\x00", b"\x22\x00", b"\x10\x01", b"\x0a\x05abc", b"\x0a"],
    ids=["empty", "two messages", "app mempool", "removed", "a number", "truncated", "key alone"],
)
def test_an_envelope_that_is_not_one_known_request_is_malformed(envelope):
    with pytest.raises(PeerMisbehaved) as caught:
        messages.decode_request(envelope)
    assert caught.value.code == "abci-malformed"
