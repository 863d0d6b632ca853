"""What we answer: the responses of ABCI 2.0, each with its meaning in one line.

Source: ABCI 2.0 specification, "Methods"; field numbers as `parts` says.
"""

import enum
from dataclasses import dataclass
from typing import Annotated

from parley.ledger.engines.cometbft.parts import Event, ExecTxResult, ValidatorUpdate
from parley.ledger.engines.cometbft.wire import Field, Scalar


@dataclass(frozen=True)
class ExceptionResponse:
    """The application cannot go on; the node stops when it reads this."""

    error: Annotated[str, Field(1)] = ""


@dataclass(frozen=True)
class EchoResponse:
    """What was to be said back."""

    message: Annotated[str, Field(1)] = ""


@dataclass(frozen=True)
class FlushResponse:
    """Everything before this was sent."""


@dataclass(frozen=True)
class InfoResponse:
    """The height and the app hash that the application has committed."""

    data: Annotated[str, Field(1)] = ""
    version: Annotated[str, Field(2)] = ""
    app_version: Annotated[int, Field(3, Scalar.UINT64)] = 0
    last_block_height: Annotated[int, Field(4)] = 0
    last_block_app_hash: Annotated[bytes, Field(5)] = b""


@dataclass(frozen=True)
class InitChainResponse:
    """The app hash of the genesis; validators and parameters stay those of the genesis."""

    app_hash: Annotated[bytes, Field(3)] = b""


@dataclass(frozen=True)
class QueryResponse:
    """The answer to a question; a code other than 0 is a no."""

    code: Annotated[int, Field(1, Scalar.UINT32)] = 0
    log: Annotated[str, Field(3)] = ""
    key: Annotated[bytes, Field(6)] = b""
    value: Annotated[bytes, Field(7)] = b""
    height: Annotated[int, Field(9)] = 0
    codespace: Annotated[str, Field(10)] = ""


@dataclass(frozen=True)
class CheckTxResponse:
    """Code 0 lets the transaction into the mempool."""

    code: Annotated[int, Field(1, Scalar.UINT32)] = 0
    data: Annotated[bytes, Field(2)] = b""
    log: Annotated[str, Field(3)] = ""
    gas_wanted: Annotated[int, Field(5)] = 0
    codespace: Annotated[str, Field(8)] = ""


@dataclass(frozen=True)
class CommitResponse:
    """Blocks below this height may be pruned; 0 keeps all."""

    retain_height: Annotated[int, Field(3)] = 0


@dataclass(frozen=True)
class ListSnapshotsResponse:
    """None: a node that joins replays the blocks."""


class Restoration(enum.IntEnum):
    """What becomes of a snapshot that is offered to us."""

    ABORT = 2


@dataclass(frozen=True)
class OfferSnapshotResponse:
    """What becomes of the restoration, a `Restoration`."""

    result: Annotated[int, Field(1, Scalar.INT32)] = 0


@dataclass(frozen=True)
class LoadSnapshotChunkResponse:
    """An empty piece: there is no snapshot."""


@dataclass(frozen=True)
class ApplySnapshotChunkResponse:
    """What becomes of the restoration, a `Restoration`."""

    result: Annotated[int, Field(1, Scalar.INT32)] = 0


@dataclass(frozen=True)
class PrepareProposalResponse:
    """The transactions of the block, in order."""

    txs: Annotated[tuple[bytes, ...], Field(1)] = ()


class Vote(enum.IntEnum):
    """Whether we vote for a proposal, or accept a vote's extension."""

    ACCEPT = 1
    REJECT = 2


@dataclass(frozen=True)
class ProcessProposalResponse:
    """Our vote on the proposal."""

    status: Annotated[int, Field(1, Scalar.INT32)] = 0


@dataclass(frozen=True)
class ExtendVoteResponse:
    """No extension."""


@dataclass(frozen=True)
class VerifyVoteExtensionResponse:
    """Our view of another validator's extension."""

    status: Annotated[int, Field(1, Scalar.INT32)] = 0


@dataclass(frozen=True)
class FinalizeBlockResponse:
    """Results in the order of the transactions, validators of two blocks later, and the app hash."""

    events: Annotated[tuple[Event, ...], Field(1)] = ()
    tx_results: Annotated[tuple[ExecTxResult, ...], Field(2)] = ()
    validator_updates: Annotated[tuple[ValidatorUpdate, ...], Field(3)] = ()
    app_hash: Annotated[bytes, Field(5)] = b""


Response = (
    ExceptionResponse
    | EchoResponse
    | FlushResponse
    | InfoResponse
    | InitChainResponse
    | QueryResponse
    | CheckTxResponse
    | CommitResponse
    | ListSnapshotsResponse
    | OfferSnapshotResponse
    | LoadSnapshotChunkResponse
    | ApplySnapshotChunkResponse
    | PrepareProposalResponse
    | ProcessProposalResponse
    | ExtendVoteResponse
    | VerifyVoteExtensionResponse
    | FinalizeBlockResponse
)
