"""What the ledger offers to the CometBFT engine: a deterministic state machine, as a Protocol.

All methods are synchronous and are called one at a time, on one thread. Whatever may decide about
state comes in as an argument: times are those of the block in nanoseconds since 1970 (UTC), never a
clock's; the same calls give the same answers on every node.

The life of a block (ABCI 2.0 specification, "Application Requirements"):

1. `check_tx`: a transaction arrives at this node; cheap, against the committed state.
2. `pause`, then `prepare` on the proposer, `process` on the others; none changes state. A height may see
   several of them, for one block or for different ones.
3. `finalize`: the decided block is executed; the new state is kept aside. It comes again for the same
   height if the node died before `commit`; what was kept aside is then forgotten.
4. `commit`: the state kept aside becomes the committed one, durably and at once. Only here is
   anything persisted. A process that dies before it finds the old height in `info` and is given
   the block again; one that dies after it is not.

The app hash must not change in a block without effect, for example by hashing the height: nodes make
blocks until one confirms the last app hash, and would never rest.

An exception from `info`, `init_chain`, `finalize` or `commit` halts the node, since going on could
only fork it; one from the others refuses that transaction, proposal or question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from parley.ledger.engines.cometbft.parts import Event, MisbehaviourKind
from parley.ledger.engines.cometbft.wire import with_length

ACCEPTED: Final = 0
"""The code of what was accepted; any other is a refusal."""


@dataclass(frozen=True)
class Committed:
    """How far an application is.

    Args:
        height: height of the last committed block, 0 before the first.
        app_hash: its app hash; empty at height 0.
        version: the program's version, for the log.

    """

    height: int
    app_hash: bytes
    version: str


@dataclass(frozen=True)
class ValidatorPower:
    """A validator: Ed25519 public key (32 bytes) and voting power; power 0 removes it."""

    public_key: bytes
    power: int


@dataclass(frozen=True)
class Genesis:
    """How the chain begins.

    Args:
        chain_id: name of the chain.
        time: the genesis time.
        initial_height: height of the first block.
        validators: the first validators.
        app_state: the bytes of the JSON value ``app_state`` in the genesis file.

    """

    chain_id: str
    time: int
    initial_height: int
    validators: tuple[ValidatorPower, ...]
    app_state: bytes


@dataclass(frozen=True)
class Verdict:
    """Whether a transaction may enter the mempool.

    Args:
        code: `ACCEPTED`, or why not.
        log: the reason in words; the submitter sees it.

    """

    code: int = ACCEPTED
    log: str = ""


@dataclass(frozen=True)
class TxResult:
    """What became of one transaction of a block.

    Args:
        code: `ACCEPTED`, or why the rules refused it; agreed on by all nodes.
        data: the receipt; agreed on by all nodes.
        log: words, for people; not agreed on.
        events: by which nodes find the transaction; not agreed on.

    """

    code: int = ACCEPTED
    data: bytes = b""
    log: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class FinalizeResult:
    """The outcome of a block.

    Args:
        tx_results: one for each transaction, in order.
        app_hash: the state after the block; agreed on by all nodes.
        validator_updates: which act two blocks later.

    """

    tx_results: tuple[TxResult, ...]
    app_hash: bytes
    validator_updates: tuple[ValidatorPower, ...] = ()


@dataclass(frozen=True)
class Offence:
    """A validator's misbehaviour, proven to the engine.

    Args:
        kind: what it did.
        address: the validator's address, 20 bytes.
        power: its voting power then.
        height: when, as a height.
        time: when, as the time of that block.

    """

    kind: MisbehaviourKind
    address: bytes
    power: int
    height: int
    time: int


@dataclass(frozen=True)
class QueryAnswer:
    """The answer to a question about the committed state.

    Args:
        code: `ACCEPTED`, or why there is no answer.
        value: the answer.
        log: the reason in words.
        height: the committed height that was asked.

    """

    code: int = ACCEPTED
    value: bytes = b""
    log: str = ""
    height: int = 0


def proposal_bytes(tx: bytes) -> int:
    """What a transaction takes of a proposal's ``max_bytes``: itself, its length and a byte for its key."""
    return 1 + len(with_length(tx))


class Application(Protocol):
    """The ledger as the engine sees it; the rules are at the top of this file."""

    def info(self) -> Committed:
        """The committed height and its app hash, from durable storage."""

    def init_chain(self, genesis: Genesis) -> bytes:
        """Begin at the genesis and return its app hash; comes again while nothing is committed."""

    def check_tx(self, tx: bytes) -> Verdict:
        """Whether a transaction may enter, or after a block stay in, the mempool."""

    def pause(self, txs: Sequence[bytes]) -> float:
        """Seconds that our proposal of these waits for others; who comes meanwhile goes by `check_tx`."""

    def prepare(self, txs: Sequence[bytes], max_bytes: int, height: int, time: int) -> Sequence[bytes]:
        """The transactions of our proposal, in order, whose `proposal_bytes` are at most ``max_bytes``.

        A transaction that is left out stays in the mempool; one may be added that `check_tx` let in.
        """

    def process(self, txs: Sequence[bytes], height: int, time: int) -> bool:
        """Whether we vote for a proposal; True for every block that a correct node prepares."""

    def finalize(
        self, txs: Sequence[bytes], height: int, time: int, misbehaviour: Sequence[Offence], proposer: bytes
    ) -> FinalizeResult:
        """Execute a decided block, whose proposer has that address; persist nothing."""

    def commit(self) -> int:
        """Persist what was finalized; blocks below the height returned may be pruned, 0 keeps all."""

    def query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Answer from the committed state; also whether a peer may connect (`peers.PeerQuestion`)."""
