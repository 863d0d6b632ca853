"""The node's JSON-RPC, as far as a party uses it: submit, look up, watch.

Over the Unix socket in the node's home, which only this user can open; each call is one connection,
on a worker thread. Nothing that comes back is proof of anything: it is this party's own node that
answers. Source: CometBFT's RPC reference; the shapes of the answers are in `rpc_answers`.
"""

import asyncio
import base64
import http.client
import itertools
import json
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from parley.core.errors import BudgetExhausted, ParleyError, PeerLost, PeerMisbehaved, UsageError
from parley.ledger.engines.cometbft import rpc_answers as shapes
from parley.ledger.engines.cometbft.application import QueryAnswer, ValidatorPower
from parley.ledger.engines.cometbft.rpc_answers import (
    Answer,
    Block,
    BlockOutcome,
    ConnectedPeer,
    Status,
    Submission,
    TxOutcome,
)
from parley.ledger.engines.cometbft.wire import PEER

PATIENCE: Final = 20.0
"""Seconds to wait for an answer."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""Bytes of the longest answer; a block of the largest size takes a third more in base64."""

_ALL: Final = 100
_KNOWN: Final = "tx already exists in cache"
_BEHIND: Final = "while node is catching up"
_STOPPING: Final = "appConn mempool"
_FULL: Final = "mempool is full"
_BUSY: Final = "mempool is still rechecking"
_Read = TypeVar("_Read")


class RpcClient:
    """Asks one node.

    All methods raise `PeerLost` if the node cannot be reached, `PeerMisbehaved` if its answer cannot be
    read, and `UsageError` if it refuses the question.

    Args:
        path: the Unix socket on which it answers.

    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids = itertools.count(1)

    async def answers(self) -> bool:
        """Whether the node answers."""
        try:
            await self.status()
        except PeerLost:
            return False
        return True

    async def status(self) -> Status:
        """How far the node is."""
        return await self._ask(shapes.StatusAnswer, "status")

    async def submit(self, tx: bytes) -> Submission:
        """Put a transaction into the node's mempool, which gives it to all others; not yet a commit.

        Submitting a transaction again is harmless.

        Raises:
            PeerLost: also while the node is catching up, or stops.
            BudgetExhausted: the mempool is full.

        """
        submissions = await self.submit_in_order([tx])
        if isinstance(submissions[0], ParleyError):
            raise submissions[0]
        return submissions[0]

    async def submit_in_order(self, txs: Sequence[bytes]) -> list[Submission | ParleyError]:
        """The same for several, over one connection, each when the one before it was taken.

        Returns:
            What the mempool said to each, up to the first that was not taken; its last item says why.

        """
        return await asyncio.to_thread(self._submit_in_order, txs)

    def _submit_in_order(self, txs: Sequence[bytes]) -> list[Submission | ParleyError]:
        said: list[Submission | ParleyError] = []
        with closing(_UnixConnection(self._path)) as connection:
            for tx in txs:
                try:
                    said.append(self._submitted(connection, tx))
                except ParleyError as error:
                    return [*said, error]
        return said

    def _submitted(self, connection: "_UnixConnection", tx: bytes) -> Submission:
        try:
            body = connection.post(self._question("broadcast_tx_sync", tx=_base64(tx)))
            return _read(shapes.SubmitAnswer, "broadcast_tx_sync", body)
        except _RefusedError as refusal:
            if _KNOWN in refusal.reason:
                return shapes.known(tx)
            raise _not_taken(refusal) from refusal

    async def tx(self, tx_hash: bytes) -> TxOutcome | None:
        """What became of a transaction, by its SHA-256; None while it is in no block.

        The index from which this comes follows the blocks by a moment.
        """
        try:
            return await self._ask(shapes.TxAnswer, "tx", hash=_base64(tx_hash), prove=False)
        except _RefusedError as refusal:
            if "not found" in refusal.reason:
                return None
            raise

    async def block(self, height: int) -> Block:
        """A block."""
        return await self._ask(shapes.BlockAnswer, "block", height=str(height))

    async def block_outcome(self, height: int) -> BlockOutcome:
        """What the application answered to a block."""
        return await self._ask(shapes.BlockOutcomeAnswer, "block_results", height=str(height))

    async def validators(self, height: int) -> tuple[ValidatorPower, ...]:
        """Who votes on the block of a height, by falling power; up to 100."""
        parameters = {"height": str(height), "page": "1", "per_page": str(_ALL)}
        return await self._ask(shapes.ValidatorsAnswer, "validators", **parameters)

    async def peers(self) -> tuple[ConnectedPeer, ...]:
        """The nodes that are connected to this one."""
        return await self._ask(shapes.NetInfoAnswer, "net_info")

    async def query(self, path: str, data: bytes = b"", height: int = 0) -> QueryAnswer:
        """The application's answer, through the node."""
        parameters = {"path": path, "data": data.hex(), "height": str(height)}
        return await self._ask(shapes.QueryAnswerShape, "abci_query", **parameters)

    async def _ask(self, shape: type[Answer[_Read]], method: str, **parameters: str | bool) -> _Read:
        question = self._question(method, **parameters)
        return _read(shape, method, await asyncio.to_thread(_post, self._path, question))

    def _question(self, method: str, **parameters: str | bool) -> bytes:
        question = {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": parameters}
        return json.dumps(question).encode()


def _read(shape: type[Answer[_Read]], method: str, body: bytes) -> _Read:
    try:
        answer = msgspec.json.decode(body, type=shapes.Envelope)
        if answer.error is not None:
            raise _RefusedError(method, answer.error)
        return msgspec.json.decode(answer.result, type=shape, strict=False).read()
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PeerMisbehaved(
            "node-answer",
            f"{PEER} answered {method} with what cannot be read: {error}",
            peer=PEER,
            remedy="check that the node is the pinned CometBFT version",
        ) from error


class _RefusedError(UsageError):
    """The node refuses a question."""

    def __init__(self, method: str, error: shapes.RpcError) -> None:
        self.reason = f"{error.message}: {error.data}"[:500]
        super().__init__(
            "node-refused", f"{PEER} refuses {method}: {self.reason}", remedy="ask for what the node has"
        )


def _not_taken(refusal: _RefusedError) -> ParleyError:
    """Why the node does not take a transaction, by the words it says it in."""
    if _BEHIND in refusal.reason:
        return PeerLost(
            "node-catching-up",
            f"{PEER} is still fetching blocks that the others have",
            peer=PEER,
            remedy="wait until its status says that it has caught up",
        )
    if _STOPPING in refusal.reason:
        return PeerLost(
            "node-stopping",
            f"{PEER} has lost the ledger and stops",
            peer=PEER,
            remedy="submit it again when the party is back",
        )
    if _FULL in refusal.reason or _BUSY in refusal.reason:
        return BudgetExhausted(
            "mempool-full",
            "the node holds as many waiting transactions as it may",
            remedy="submit it again when a block is through",
        )
    return refusal


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self._socket_path = str(path)

    def connect(self) -> None:
        """Open the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self._socket_path)

    def post(self, body: bytes) -> bytes:
        """Ask one question; the connection may serve for another."""
        try:
            self.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = self.getresponse().read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(self._socket_path, error) from error
        if len(answer) > MAX_ANSWER:
            raise PeerMisbehaved(
                "node-answer-long",
                f"{PEER} answered with more than {MAX_ANSWER} bytes",
                peer=PEER,
                remedy="ask for less at once",
            )
        return answer


def _post(path: Path, body: bytes) -> bytes:
    with closing(_UnixConnection(path)) as connection:
        return connection.post(body)


def _unreachable(path: str, error: Exception) -> ParleyError:
    return PeerLost(
        "node-unreachable",
        f"{PEER} does not answer at {path}: {error}",
        peer=PEER,
        remedy="check that the party is running, and its node.log",
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
