"""What the node's RPC answers: the records that callers get, and the JSON shapes they are read from.

In this JSON 64-bit numbers are strings, hashes are hex, and other bytes base64; lists that are empty
may be null. Source: CometBFT's RPC reference.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from parley.ledger.engines.cometbft.application import ACCEPTED, QueryAnswer, TxResult, ValidatorPower

Read_co = TypeVar("Read_co", covariant=True)


@dataclass(frozen=True)
class Submission:
    """What the mempool said to a transaction.

    Args:
        tx_hash: its SHA-256, by which it is looked up.
        code: ``ACCEPTED``, or the code of the application's `Verdict`.
        log: the reason in words.

    """

    tx_hash: bytes
    code: int
    log: str


@dataclass(frozen=True)
class TxOutcome:
    """A transaction in a block.

    Args:
        height: of the block.
        index: its place there, from 0.
        tx: its bytes.
        result: what the application answered.

    """

    height: int
    index: int
    tx: bytes
    result: TxResult


@dataclass(frozen=True)
class Block:
    """A block.

    Args:
        height: from 1.
        time: as RFC 3339 text with nanoseconds.
        block_hash: of its header.
        app_hash: the state before it, that is after the block below.
        proposer: address of the validator that proposed it.
        txs: its transactions.

    """

    height: int
    time: str
    block_hash: bytes
    app_hash: bytes
    proposer: bytes
    txs: tuple[bytes, ...]


@dataclass(frozen=True)
class BlockOutcome:
    """What the application answered to a block.

    Args:
        height: of the block.
        app_hash: the state after it.
        results: one for each transaction.

    """

    height: int
    app_hash: bytes
    results: tuple[TxResult, ...]


@dataclass(frozen=True)
class Status:
    """How far a node is.

    Args:
        node_id: its id.
        version: its CometBFT version.
        height: of its last block.
        app_hash: the state before that block.
        block_time: time of that block; 1970 before the first.
        catching_up: it is still fetching blocks that the others have.

    """

    node_id: str
    version: str
    height: int
    app_hash: bytes
    block_time: datetime
    catching_up: bool


@dataclass(frozen=True)
class ConnectedPeer:
    """A node that is connected to ours: the id it has proven, and the name it gives itself."""

    node_id: str
    name: str


def known(tx: bytes) -> Submission:
    """The submission of a transaction that the mempool has seen already."""
    return Submission(hashlib.sha256(tx).digest(), ACCEPTED, "the node knows it already")


# The shapes


class Answer(Protocol[Read_co]):
    """The shape of an answer."""

    def read(self) -> Read_co:
        """The record for callers; a `ValueError` if some part is not what it should be."""


class RpcError(msgspec.Struct):
    """An error of JSON-RPC 2.0."""

    code: int
    message: str = ""
    data: str = ""


class Envelope(msgspec.Struct):
    """An answer of JSON-RPC 2.0."""

    result: msgspec.Raw = msgspec.Raw()
    error: RpcError | None = None


class SubmitAnswer(msgspec.Struct):
    """Of ``broadcast_tx_sync``."""

    code: int
    log: str
    hash: str

    def read(self) -> Submission:
        """The record."""
        return Submission(bytes.fromhex(self.hash), self.code, self.log)


class _Result(msgspec.Struct):
    code: int = 0
    data: bytes | None = None
    log: str = ""

    def read(self) -> TxResult:
        return TxResult(self.code, self.data or b"", self.log)


class TxAnswer(msgspec.Struct):
    """Of ``tx``."""

    height: int
    index: int
    tx_result: _Result
    tx: bytes

    def read(self) -> TxOutcome:
        """The record."""
        return TxOutcome(self.height, self.index, self.tx, self.tx_result.read())


class _BlockId(msgspec.Struct):
    hash: str


class _Header(msgspec.Struct):
    height: int
    time: str
    app_hash: str
    proposer_address: str


class _Data(msgspec.Struct):
    txs: list[bytes] | None = None


class _Block(msgspec.Struct):
    header: _Header
    data: _Data


class BlockAnswer(msgspec.Struct):
    """Of ``block``."""

    block_id: _BlockId
    block: _Block

    def read(self) -> Block:
        """The record."""
        header = self.block.header
        return Block(
            height=header.height,
            time=header.time,
            block_hash=bytes.fromhex(self.block_id.hash),
            app_hash=bytes.fromhex(header.app_hash),
            proposer=bytes.fromhex(header.proposer_address),
            txs=tuple(self.block.data.txs or ()),
        )


class BlockOutcomeAnswer(msgspec.Struct):
    """Of ``block_results``."""

    height: int
    txs_results: list[_Result] | None = None
    app_hash: bytes | None = None

    def read(self) -> BlockOutcome:
        """The record."""
        results = tuple(result.read() for result in self.txs_results or ())
        return BlockOutcome(self.height, self.app_hash or b"", results)


class _NodeInfo(msgspec.Struct):
    id: str
    version: str
    moniker: str


class _SyncInfo(msgspec.Struct):
    latest_block_height: int
    latest_app_hash: str
    latest_block_time: datetime
    catching_up: bool


class StatusAnswer(msgspec.Struct):
    """Of ``status``."""

    node_info: _NodeInfo
    sync_info: _SyncInfo

    def read(self) -> Status:
        """The record."""
        sync = self.sync_info
        return Status(
            node_id=self.node_info.id,
            version=self.node_info.version,
            height=sync.latest_block_height,
            app_hash=bytes.fromhex(sync.latest_app_hash),
            block_time=sync.latest_block_time,
            catching_up=sync.catching_up,
        )


class _PublicKey(msgspec.Struct):
    value: bytes


class _Validator(msgspec.Struct):
    pub_key: _PublicKey
    voting_power: int


class ValidatorsAnswer(msgspec.Struct):
    """Of ``validators``."""

    validators: list[_Validator]

    def read(self) -> tuple[ValidatorPower, ...]:
        """The records."""
        return tuple(ValidatorPower(one.pub_key.value, one.voting_power) for one in self.validators)


class _Peer(msgspec.Struct):
    node_info: _NodeInfo


class NetInfoAnswer(msgspec.Struct):
    """Of ``net_info``."""

    peers: list[_Peer] | None = None

    def read(self) -> tuple[ConnectedPeer, ...]:
        """The records."""
        return tuple(ConnectedPeer(one.node_info.id, one.node_info.moniker) for one in self.peers or ())


class _Response(msgspec.Struct):
    code: int = 0
    log: str = ""
    value: bytes | None = None
    height: int = 0


class QueryAnswerShape(msgspec.Struct):
    """Of ``abci_query``."""

    response: _Response

    def read(self) -> QueryAnswer:
        """The record."""
        answer = self.response
        return QueryAnswer(answer.code, answer.value or b"", answer.log, answer.height)
