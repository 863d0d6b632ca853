"""The contract behind CometBFT: what the node asks, answered by the ledger's replica.

* A block's time in the contract is the agreed time in whole seconds, never earlier than that of the block
  before it.
* A block of the chain that holds a transaction is one block of the ledger; one that holds none is nothing to
  the ledger. So the contract's heights count blocks with transactions, as those of the embedded engine do,
  the log verifies without knowing which engine made it, and the app hash rests when nothing happens.
* A proposal with a transaction that may not be executed is voted down. Should one be decided all the same, it
  gets a result, but neither a leaf nor a receipt.
* A proposal of nothing but commitments to rounds waits a moment, and takes along what has come in since
  (`arrivals`).
* Only `commit` writes, and only there does the state that the party sees move on.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Final, TypeVar

from parley.core.errors import ParleyError, ProtocolBug, UsageError
from parley.ledger.block import Leaf
from parley.ledger.contract import Block, Dropped, Receipt, admit
from parley.ledger.electorate import cosigning_key
from parley.ledger.encoding import encode
from parley.ledger.engines.cometbft import peers
from parley.ledger.engines.cometbft.application import (
    ACCEPTED,
    Application,
    Committed,
    FinalizeResult,
    Genesis,
    Offence,
    QueryAnswer,
    TxResult,
    ValidatorPower,
    Verdict,
    proposal_bytes,
)
from parley.ledger.engines.cometbft.arrivals import Arrivals
from parley.ledger.engines.cometbft.beginning import Beginning, Carried, Founding
from parley.ledger.engines.cometbft.log import ChainLog, app_hash
from parley.ledger.engines.cometbft.migration import check_carried
from parley.ledger.engines.cometbft.store import Position
from parley.ledger.engines.cometbft.validators import POWER, may_connect, member_at, updates, validators
from parley.ledger.replica import Executed, Overlay

REFUSED: Final = 1
"""The code of a transaction that the contract refused; it is in the log and has a receipt."""
DROPPED: Final = 2
"""The code of one that could not be executed; it left no trace."""
STATE: Final = "/state"
"""Path of the question for the value under a key of the state."""

_SECOND: Final = 1_000_000_000
_LOG: Final = logging.getLogger(__name__)
_R = TypeVar("_R")


@dataclass(frozen=True)
class _Tried:
    """A block that was executed, and decided about perhaps; nothing has been adopted."""

    txs: tuple[bytes, ...]
    seconds: int
    executed: Executed
    dropped: dict[bytes, Dropped]


def at_once(adopt: Callable[[], None]) -> None:
    """Adopt on the thread that commits."""
    adopt()


class ContractApplication(Application):
    """One party's contract as its node calls it.

    Args:
        log: the party's ledger.
        adopting: makes what was committed the party's state; where the party reads from another thread,
            runs it there, and returns when that is done.

    Attributes:
        halted: why the node was stopped; empty while all is well.
        offences: misbehaviour that the engine has proven, with the member if it is known.

    """

    def __init__(self, log: ChainLog, adopting: Callable[[Callable[[], None]], None] = at_once) -> None:
        self.halted = ""
        self.offences: list[tuple[str, Offence]] = []
        self._log = log
        self._adopting = adopting
        self._begun: tuple[Executed, ...] = ()
        self._tried: _Tried | None = None
        self._decided: tuple[Position, Executed] | None = None
        self._arrivals = Arrivals()

    # ── what decides about state ──────────────────────────────────────────────────────────────────────

    def info(self) -> Committed:
        """How far the database is."""
        height = self._log.position.height
        committed = app_hash(self._log.checkpoint()) if height else b""
        return Committed(height, committed, version("parley"))

    def init_chain(self, genesis: Genesis) -> bytes:
        """Begin the ledger, or make sure that ours is the one that is carried on."""
        return self._halting(lambda: self._begin(genesis))

    def _begin(self, genesis: Genesis) -> bytes:
        beginning = Beginning.read(genesis.app_state)
        self._tried, self._decided = None, None
        self._log.start_over()
        match beginning.ledger:
            case Founding(spec):
                if self._log.size:
                    raise UsageError(
                        "ledger-known",
                        f"{self._log.name} has a ledger of {self._log.size} leaves; the chain begins another",
                        remedy="name another directory, or move the consortium with its history",
                    )
                begun = self._log.replica.begin(spec)
                self._log.replica.adopt(begun)
                self._begun = (begun,)
            case Carried(text):
                check_carried(self._log, text)
                self._begun = ()
        _check_validators(genesis.validators, validators(self._log.replica.state, beginning.nodes))
        self._log.position = Position(0, beginning.nodes)
        return app_hash(self._log.checkpoint())

    def finalize(
        self, txs: Sequence[bytes], height: int, time: int, misbehaviour: Sequence[Offence], proposer: bytes
    ) -> FinalizeResult:
        """Execute a decided block and keep the outcome aside."""
        del proposer
        return self._halting(lambda: self._finalize(txs, height, time, misbehaviour))

    def _finalize(
        self, txs: Sequence[bytes], height: int, time: int, misbehaviour: Sequence[Offence]
    ) -> FinalizeResult:
        if height != self._log.position.height + 1:
            raise ProtocolBug(
                "block-gap",
                f"the node decided block {height}, the ledger is at {self._log.position.height}",
                remedy="report it with the node's log",
            )
        self._note(misbehaviour)
        tried = self._try(txs, time)
        executed, state = tried.executed, self._log.replica.state
        voting = cosigning_key(state, self._log.name).hex()
        self._decided = replace(self._log.position, height=height, voting=voting), executed
        if not executed.leaves:
            none = tuple(_result(None, tried.dropped.get(tx)) for tx in txs)
            return FinalizeResult(none, app_hash(self._log.checkpoint()))
        checkpoint = self._log.checkpoint_after(executed)
        return FinalizeResult(
            _results(txs, executed, tried.dropped),
            app_hash(checkpoint),
            updates(state, Overlay(state, executed.writes), self._log.position.nodes),
        )

    def commit(self) -> int:
        """Write the outcome, then let the party see it; every block is kept."""
        return self._halting(self._commit)

    def _commit(self) -> int:
        if self._decided is None:
            raise ProtocolBug("commit-without-block", "there is nothing to commit", remedy="report it")
        position, executed = self._decided
        blocks = self._begun + ((executed,) if executed.leaves else ())
        self._log.commit(blocks, position)
        self._adopting(lambda: self._log.adopt(blocks, position))
        self._begun, self._decided, self._tried = (), None, None
        self._arrivals.clear()
        return 0

    def _halting(self, call: Callable[[], _R]) -> _R:
        """Note why the node is about to be stopped."""
        try:
            return call()
        except Exception as error:
            self.halted = error.what if isinstance(error, ParleyError) else f"{type(error).__name__}: {error}"
            raise

    def _note(self, misbehaviour: Sequence[Offence]) -> None:
        """Tell the operator; the contract has no rule for it, so the members vote on what follows."""
        for offence in misbehaviour:
            member = member_at(self._log.replica.state, offence.address) or "a validator of nobody's"
            _LOG.warning("%s was caught: %s at height %d", member, offence.kind.name, offence.height)
            self.offences.append((member, offence))

    # ── what carries foreign input ────────────────────────────────────────────────────────────────────

    def check_tx(self, tx: bytes) -> Verdict:
        """Whether the next block could hold it; the log begins with the code of what is dropped."""
        replica = self._log.replica
        admitted = admit(replica.state, tx, Block(replica.height + 1, replica.time), replica.verify)
        if isinstance(admitted, Dropped):
            return Verdict(DROPPED, f"{admitted.code}: {admitted.reason}")
        self._arrivals.add(tx, admitted.type)
        return Verdict()

    def pause(self, txs: Sequence[bytes]) -> float:
        """A moment, if nothing but commitments to rounds is there; else nothing."""
        return self._arrivals.pause(txs)

    def prepare(self, txs: Sequence[bytes], max_bytes: int, height: int, time: int) -> Sequence[bytes]:
        """Those that may be executed, with what came in since, each once, in order, as many as fit."""
        del height
        fitting = _fitting(dict.fromkeys((*txs, *self._arrivals)), max_bytes)
        tried = self._try(fitting, time)
        kept = tuple(tx for tx in fitting if tx not in tried.dropped)
        self._tried = replace(tried, txs=kept, dropped={})
        return kept

    def process(self, txs: Sequence[bytes], height: int, time: int) -> bool:
        """Whether every transaction may be executed after those before it."""
        del height
        return not self._try(txs, time).dropped

    def _try(self, txs: Sequence[bytes], time: int) -> _Tried:
        """Execute a block after the committed one; a block that was just tried is not executed again."""
        seconds, last = time // _SECOND, self._tried
        if last is not None and (last.txs, last.seconds) == (tuple(txs), seconds):
            return last
        replica = self._log.replica
        if last is not None:
            replica.state.tree.discard(last.executed.state_root, (replica.state.root,))
        executed, dropped = replica.prepare(txs, seconds)
        self._tried = _Tried(tuple(txs), seconds, executed, dropped)
        return self._tried

    def query(self, path: str, data: bytes, height: int) -> QueryAnswer:
        """Whether a node may connect, or what stands under a key of the committed state."""
        del height
        at, state = self._log.position.height, self._log.replica.state
        match peers.peer_question(path):
            case peers.PeerAddress():
                return QueryAnswer(height=at)  # an address proves nothing; the node id is asked next
            case peers.PeerId(node):
                known = bool(self._log.size) and may_connect(state, self._log.position.nodes, node)
                return QueryAnswer(height=at) if known else QueryAnswer(REFUSED, log="no member's", height=at)
        if path != STATE:
            return QueryAnswer(REFUSED, log="no such question", height=at)
        value = state.get(data.decode(errors="replace"))
        if value is None:
            return QueryAnswer(REFUSED, log="nothing there", height=at)
        return QueryAnswer(value=encode(value), height=at)


def _fitting(txs: Iterable[bytes], max_bytes: int) -> list[bytes]:
    chosen = []
    for tx in txs:
        max_bytes -= proposal_bytes(tx)
        if max_bytes < 0:
            break
        chosen.append(tx)
    return chosen


def _results(txs: Sequence[bytes], executed: Executed, dropped: dict[bytes, Dropped]) -> tuple[TxResult, ...]:
    """What became of each transaction: the leaves hold those that were executed, in the same order."""
    signed = [Leaf.decoded(leaf).signed for leaf in executed.leaves]
    place, results = 0, []
    for tx in txs:
        taken = place < len(signed) and signed[place] == tx
        results.append(_result(executed.receipts[place] if taken else None, dropped.get(tx)))
        place += taken
    return tuple(results)


def _result(receipt: Receipt | None, dropped: Dropped | None) -> TxResult:
    """The result; of the receipt all but the reason, whose words may differ between releases."""
    if receipt is None:
        return TxResult(DROPPED, log="" if dropped is None else f"{dropped.code}: {dropped.reason}")
    agreed = {name: value for name, value in receipt.value().items() if name != "reason"}
    return TxResult(ACCEPTED if receipt.accepted else REFUSED, encode(agreed), receipt.reason)


def _check_validators(chosen: Sequence[ValidatorPower], members: dict[bytes, str]) -> None:
    if {one.public_key: one.power for one in chosen} != dict.fromkeys(members, POWER):
        raise UsageError(
            "genesis-validators",
            f"the chain's genesis names {len(chosen)} validators, not the active members with a node",
            remedy=f"name {', '.join(members.values())} with their cosigning keys, each with power {POWER}",
        )
