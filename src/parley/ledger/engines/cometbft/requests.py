"""What the node asks: the requests of ABCI 2.0, each with its meaning in one line.

Source: ABCI 2.0 specification, "Methods"; field numbers as `parts` says. Vote extensions are not
enabled by a consortium's genesis, so their requests carry nothing that is read.
"""

from dataclasses import dataclass
from typing import Annotated

from parley.ledger.engines.cometbft.parts import Misbehaviour, Timestamp, ValidatorUpdate
from parley.ledger.engines.cometbft.wire import Field, Scalar


@dataclass(frozen=True)
class EchoRequest:
    """Say this back."""

    message: Annotated[str, Field(1)] = ""


@dataclass(frozen=True)
class FlushRequest:
    """Send what is still buffered."""


@dataclass(frozen=True)
class InfoRequest:
    """How far is the application? Asked at every start, to know what to replay."""

    version: Annotated[str, Field(1)] = ""
    block_version: Annotated[int, Field(2, Scalar.UINT64)] = 0
    p2p_version: Annotated[int, Field(3, Scalar.UINT64)] = 0
    abci_version: Annotated[str, Field(4)] = ""


@dataclass(frozen=True)
class InitChainRequest:
    """The genesis, given whenever the application is at height 0."""

    time: Annotated[Timestamp | None, Field(1)] = None
    chain_id: Annotated[str, Field(2)] = ""
    validators: Annotated[tuple[ValidatorUpdate, ...], Field(4)] = ()
    app_state: Annotated[bytes, Field(5)] = b""
    initial_height: Annotated[int, Field(6)] = 0


@dataclass(frozen=True)
class QueryRequest:
    """A question about the committed state; also whether a peer may connect."""

    data: Annotated[bytes, Field(1)] = b""
    path: Annotated[str, Field(2)] = ""
    height: Annotated[int, Field(3)] = 0
    prove: Annotated[bool, Field(4)] = False


@dataclass(frozen=True)
class CheckTxRequest:
    """May this transaction enter the mempool (or, kind 1, stay there after a block)?"""

    tx: Annotated[bytes, Field(1)] = b""
    kind: Annotated[int, Field(2, Scalar.INT32)] = 0


@dataclass(frozen=True)
class CommitRequest:
    """Persist the state of the block that was finalized last."""


@dataclass(frozen=True)
class ListSnapshotsRequest:
    """Which snapshots can be offered to a node that joins?"""


@dataclass(frozen=True)
class OfferSnapshotRequest:
    """A peer's snapshot is offered to us."""


@dataclass(frozen=True)
class LoadSnapshotChunkRequest:
    """A peer asks for a piece of our snapshot."""


@dataclass(frozen=True)
class ApplySnapshotChunkRequest:
    """A piece of the snapshot we accepted."""


@dataclass(frozen=True)
class PrepareProposalRequest:
    """We are the proposer: which of these transactions go into the block, in which order?"""

    max_tx_bytes: Annotated[int, Field(1)] = 0
    txs: Annotated[tuple[bytes, ...], Field(2)] = ()
    height: Annotated[int, Field(5)] = 0
    time: Annotated[Timestamp | None, Field(6)] = None


@dataclass(frozen=True)
class ProcessProposalRequest:
    """Another validator's proposal: do we vote for it?"""

    txs: Annotated[tuple[bytes, ...], Field(1)] = ()
    height: Annotated[int, Field(5)] = 0
    time: Annotated[Timestamp | None, Field(6)] = None


@dataclass(frozen=True)
class ExtendVoteRequest:
    """Never sent while vote extensions are not enabled."""


@dataclass(frozen=True)
class VerifyVoteExtensionRequest:
    """Never sent while vote extensions are not enabled."""


@dataclass(frozen=True)
class FinalizeBlockRequest:
    """A decided block: execute it."""

    txs: Annotated[tuple[bytes, ...], Field(1)] = ()
    misbehaviour: Annotated[tuple[Misbehaviour, ...], Field(3)] = ()
    hash: Annotated[bytes, Field(4)] = b""
    height: Annotated[int, Field(5)] = 0
    time: Annotated[Timestamp | None, Field(6)] = None
    proposer_address: Annotated[bytes, Field(8)] = b""


Request = (
    EchoRequest
    | FlushRequest
    | InfoRequest
    | InitChainRequest
    | QueryRequest
    | CheckTxRequest
    | CommitRequest
    | ListSnapshotsRequest
    | OfferSnapshotRequest
    | LoadSnapshotChunkRequest
    | ApplySnapshotChunkRequest
    | PrepareProposalRequest
    | ProcessProposalRequest
    | ExtendVoteRequest
    | VerifyVoteExtensionRequest
    | FinalizeBlockRequest
)
