"""The ABCI server as a node sees it: order, halts, refusals, and what it does to foreign bytes."""

import asyncio
import os
import stat
from contextlib import asynccontextmanager

import pytest

from parley.core.errors import UsageError
from parley.ledger.engines.cometbft import requests, responses, wire
from parley.ledger.engines.cometbft.dispatch import FAILED
from parley.ledger.engines.cometbft.messages import decode_response, encode_envelope
from parley.ledger.engines.cometbft.parts import Timestamp, ValidatorUpdate
from parley.ledger.engines.cometbft.server import MAX_CONNECTIONS, MAX_ENVELOPE, serving

from tests.book import MALFORMED, Book, Failing

TIME = Timestamp(1_800_000_000)
GENESIS = requests.InitChainRequest(TIME, "test", app_state=b'{"peers": ["aa"]}', initial_height=1)


class Connection:
    """A node's end of one connection."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    def send(self, *asked):
        for request in asked:
            self.writer.write(wire.with_length(encode_envelope(request)))

    async def receive(self):
        length = 0
        for place in range(10):
            [byte] = await self.reader.readexactly(1)
            length |= (byte & 0x7F) << 7 * place
            if byte < 0x80:
                break
        return decode_response(await self.reader.readexactly(length))

    async def ask(self, request):
        self.send(request)
        return await self.receive()

    async def ended(self):
        return await self.reader.read() == b""


@asynccontextmanager
async def connected(path):
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def conversation(tmp_path, book=None):
    book = book or Book(tmp_path / "book.json")
    async with serving(book, tmp_path / "s"), connected(tmp_path / "s") as node:
        yield node


async def test_answers_come_in_the_order_of_the_requests(tmp_path):
    async with conversation(tmp_path) as node:
        texts = [f"{number}" for number in range(500)]
        node.send(*(requests.EchoRequest(text) for text in texts), requests.FlushRequest())
        assert [(await node.receive()).message for _ in texts] == texts
        assert await node.receive() == responses.FlushResponse()


async def test_a_request_may_arrive_byte_by_byte(tmp_path):
    async with conversation(tmp_path) as node:
        for byte in wire.with_length(encode_envelope(requests.EchoRequest("x" * 200))):
            node.writer.write(bytes([byte]))
            await node.writer.drain()
            await asyncio.sleep(0)
        assert await node.receive() == responses.EchoResponse("x" * 200)


async def test_a_block_is_executed_and_only_commit_persists_it(tmp_path):
    async with conversation(tmp_path) as node:
        genesis = await node.ask(GENESIS)
        finalized = await node.ask(requests.FinalizeBlockRequest((b"a=1", b"a=2"), height=1, time=TIME))
        assert [result.code for result in finalized.tx_results] == [0, 2]
        assert finalized.app_hash != genesis.app_hash
        before = await node.ask(requests.InfoRequest())
        assert (before.last_block_height, before.last_block_app_hash) == (0, b"")
        await node.ask(requests.CommitRequest())
        after = await node.ask(requests.InfoRequest())
        assert (after.last_block_height, after.last_block_app_hash) == (1, finalized.app_hash)


async def test_proposals_are_prepared_and_voted_on(tmp_path):
    async with conversation(tmp_path) as node:
        prepared = await node.ask(requests.PrepareProposalRequest(9, (b"a=1", b"b=2"), 1, TIME))
        assert prepared.txs == (b"a=1",)
        good = await node.ask(requests.ProcessProposalRequest((b"a=1",), 1, TIME))
        bad = await node.ask(requests.ProcessProposalRequest((b"a=1", b"malformed"), 1, TIME))
        assert (good.status, bad.status) == (responses.Vote.ACCEPT, responses.Vote.REJECT)


async def test_what_a_consortium_does_not_use_is_answered(tmp_path):
    async with conversation(tmp_path) as node:
        node.send(
            requests.ListSnapshotsRequest(),
            requests.OfferSnapshotRequest(),
            requests.LoadSnapshotChunkRequest(),
            requests.ApplySnapshotChunkRequest(),
            requests.ExtendVoteRequest(),
            requests.VerifyVoteExtensionRequest(),
        )
        abort, reject = responses.Restoration.ABORT, responses.Vote.REJECT
        assert [await node.receive() for _ in range(6)] == [
            responses.ListSnapshotsResponse(),
            responses.OfferSnapshotResponse(abort),
            responses.LoadSnapshotChunkResponse(),
            responses.ApplySnapshotChunkResponse(abort),
            responses.ExtendVoteResponse(),
            responses.VerifyVoteExtensionResponse(reject),
        ]


async def test_a_failure_over_foreign_input_is_a_refusal(tmp_path):
    async with conversation(tmp_path, Failing(tmp_path / "book.json")) as node:
        assert (await node.ask(requests.CheckTxRequest(b"a=1"))).code == FAILED
        assert (await node.ask(requests.QueryRequest(path="/x"))).code == FAILED
        assert (await node.ask(requests.PrepareProposalRequest(9, (b"a=1",), 1, TIME))).txs == ()
        reject = responses.ProcessProposalResponse(responses.Vote.REJECT)
        assert await node.ask(requests.ProcessProposalRequest((b"a=1",), 1, TIME)) == reject
        assert await node.ask(requests.EchoRequest("still here")) == responses.EchoResponse("still here")


async def test_a_failure_in_commit_halts_the_node_without_its_words(tmp_path):
    async with conversation(tmp_path, Failing(tmp_path / "book.json")) as node:
        assert await node.ask(requests.CommitRequest()) == responses.ExceptionResponse("OSError")
        assert await node.ended()


FOREIGN = {
    "not protobuf": wire.with_length(b"\xff\xff\xff"),
    "unknown message": wire.with_length(b"\xaa\x01\x00"),
    "no time": wire.with_length(encode_envelope(requests.FinalizeBlockRequest(height=1))),
    "no key": wire.with_length(
        encode_envelope(requests.InitChainRequest(TIME, validators=(ValidatorUpdate(power=1),)))
    ),
    "too long": wire.encode_varint(MAX_ENVELOPE + 1),
    "length of more than 64 bits": b"\xff" * 11,
}


@pytest.mark.parametrize("sent", FOREIGN.values(), ids=FOREIGN)
async def test_bytes_that_are_no_request_end_their_connection_alone(tmp_path, sent):
    async with conversation(tmp_path) as node, connected(tmp_path / "s") as other:
        other.writer.write(sent)
        assert await other.receive() == responses.ExceptionResponse("peer-misbehaved: abci-malformed")
        assert await other.ended()
        assert (await node.ask(requests.CheckTxRequest(b"malformed"))).code == MALFORMED


async def test_a_connection_that_breaks_within_a_request_harms_nobody(tmp_path):
    async with conversation(tmp_path) as node:
        async with connected(tmp_path / "s") as other:
            other.writer.write(wire.encode_varint(1000) + b"abc")
        assert await node.ask(requests.EchoRequest("here")) == responses.EchoResponse("here")


class Waiting(Book):
    """Proposes what it has let in, and waits for that."""

    def __init__(self, path):
        super().__init__(path)
        self.let_in = []

    def check_tx(self, tx):
        self.let_in.append(tx)
        return super().check_tx(tx)

    def pause(self, txs):  # noqa: ARG002 (as every Application)
        return 2.0

    def prepare(self, txs, max_bytes, height, time):
        return super().prepare([*txs, *self.let_in], max_bytes, height, time)


async def test_before_a_proposal_the_other_connections_go_on(tmp_path):
    async with conversation(tmp_path, Waiting(tmp_path / "book.json")) as node:
        async with connected(tmp_path / "s") as mempool:
            node.send(requests.PrepareProposalRequest(1000, (b"a=1",), 1, TIME))
            assert await mempool.ask(requests.CheckTxRequest(b"b=2")) == responses.CheckTxResponse()
        assert (await node.receive()).txs == (b"a=1", b"b=2")


async def test_connections_beyond_the_limit_are_closed(tmp_path):
    async with serving(Book(tmp_path / "book.json"), tmp_path / "s"):
        pairs = [await asyncio.open_unix_connection(tmp_path / "s") for _ in range(MAX_CONNECTIONS + 1)]
        first, last = Connection(*pairs[0]), Connection(*pairs[-1])
        assert await last.ended()
        assert await first.ask(requests.EchoRequest("here")) == responses.EchoResponse("here")
        for _, writer in pairs:
            writer.close()


async def test_the_socket_opens_for_this_user_alone_and_is_removed(tmp_path):
    async with serving(Book(tmp_path / "book.json"), tmp_path / "s"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert not (tmp_path / "s").exists()


async def test_a_socket_left_by_a_dead_process_is_replaced_and_a_live_one_is_not(tmp_path):
    async with serving(Book(tmp_path / "book.json"), tmp_path / "s"):
        os.link(tmp_path / "s", tmp_path / "left")
        with pytest.raises(UsageError, match="another process"):
            async with serving(Book(tmp_path / "book.json"), tmp_path / "s"):
                pass
    assert (tmp_path / "left").exists()
    async with serving(Book(tmp_path / "book.json"), tmp_path / "left"), connected(tmp_path / "left") as node:
        assert await node.ask(requests.EchoRequest("here")) == responses.EchoResponse("here")


async def test_a_path_that_is_too_long_or_taken_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is no socket"):
        async with serving(Book(tmp_path / "book.json"), tmp_path / "file"):
            pass
    with pytest.raises(UsageError, match="at most 107"):
        async with serving(Book(tmp_path / "book.json"), tmp_path / ("x" * 108)):
            pass
