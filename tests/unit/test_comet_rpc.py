"""The RPC client against answers that a sound node does not give."""

import asyncio
import hashlib
import json
import re
from contextlib import asynccontextmanager, suppress

import pytest

from parley.core.errors import BudgetExhausted, PeerLost, PeerMisbehaved, UsageError
from parley.ledger.engines.cometbft.rpc import RpcClient


@asynccontextmanager
async def node(tmp_path, body):
    """A client of a node that answers everything with one body; and what it was asked."""
    asked = []

    async def hold(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        asked.append(json.loads(await reader.readexactly(length)))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hold, tmp_path / "rpc")
    try:
        yield RpcClient(tmp_path / "rpc"), asked
    finally:
        server.close()


@asynccontextmanager
async def keeping(tmp_path, *bodies):
    """A client of a node that gives one answer after the other over one connection; and its connections."""
    connections = []

    async def hold(reader, writer):
        connections.append([])
        with suppress(asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"Content-Length: (\d+)", head)[1])
                connections[-1].append(json.loads(await reader.readexactly(length))["params"]["tx"])
                body = bodies[len(connections[-1]) - 1]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(hold, tmp_path / "rpc")
    try:
        yield RpcClient(tmp_path / "rpc"), connections
    finally:
        server.close()


def refusal(reason):
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "Internal error", "data": reason}}
    ).encode()


async def test_a_transaction_travels_in_base64(tmp_path):
    answer = {"jsonrpc": "2.0", "id": 1, "result": {"code": 3, "log": "no", "hash": "AB", "data": ""}}
    async with node(tmp_path, json.dumps(answer).encode()) as (client, asked):
        submission = await client.submit(b"\x00\xff")
    assert (submission.tx_hash, submission.code, submission.log) == (b"\xab", 3, "no")
    assert (asked[0]["method"], asked[0]["params"]) == ("broadcast_tx_sync", {"tx": "AP8="})


async def test_a_transaction_that_the_node_knows_is_submitted(tmp_path):
    async with node(tmp_path, refusal("tx already exists in cache")) as (client, _):
        submission = await client.submit(b"a=1")
    assert (submission.code, submission.tx_hash) == (0, hashlib.sha256(b"a=1").digest())


@pytest.mark.parametrize(
    ("reason", "family", "code"),
    [
        ("mempool is full: number of txs 5000", BudgetExhausted, "mempool-full"),
        ("mempool is still rechecking after", BudgetExhausted, "mempool-full"),
        ("endpoint is closed while node is catching up", PeerLost, "node-catching-up"),
        ("appConn mempool: read message: EOF", PeerLost, "node-stopping"),
        ("Tx too large. Max size is 1", UsageError, "node-refused"),
    ],
)
async def test_why_a_transaction_is_not_taken_is_told_apart(tmp_path, reason, family, code):
    async with node(tmp_path, refusal(reason)) as (client, _):
        with pytest.raises(family) as caught:
            await client.submit(b"a=1")
    assert caught.value.code == code


async def test_several_go_over_one_connection_up_to_the_first_that_is_not_taken(tmp_path):
    taken = b'{"result": {"code": 0, "log": "", "hash": "AB"}}'
    busy = refusal("mempool is still rechecking after")
    async with keeping(tmp_path, taken, busy, taken) as (client, connections):
        first, second = await client.submit_in_order([b"a=1", b"b=2", b"c=3"])
    assert first.code == 0
    assert second.code == "mempool-full"
    assert connections == [["YT0x", "Yj0y"]]


async def test_a_transaction_in_no_block_is_none(tmp_path):
    async with node(tmp_path, refusal("tx (AB) not found, err: ")) as (client, _):
        assert await client.tx(b"\xab") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"result": []}',
        b'{"result": {"code": 1}}',
        b'{"result": {"code": 0, "log": "", "hash": "zz"}}',
        b'{"result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=["nothing", "not JSON", "no result", "a list", "fields missing", "not hex", "deep"],
)
async def test_an_answer_that_cannot_be_read_is_the_nodes_fault(tmp_path, body):
    async with node(tmp_path, body) as (client, _):
        with pytest.raises(PeerMisbehaved) as caught:
            await client.submit(b"a=1")
    assert caught.value.code == "node-answer"


async def test_a_node_that_is_not_there_is_lost(tmp_path):
    client = RpcClient(tmp_path / "nowhere")
    assert not await client.answers()
    with pytest.raises(PeerLost):
        await client.status()
