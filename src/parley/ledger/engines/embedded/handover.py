"""A lost sequencer: members promise another one, and it takes the log over.

Nobody does this by himself. Each member's operator says who is to order (`Handover.promise`); the promise is
on disk before it is shown, gossip carries it, and from then on this member signs nothing of the lost
sequencer's. The successor waits until it holds the promises of a majority and the highest checkpoint among
them, cuts what lies behind it, and seals a block with the promises in it (`contract.takeover`). The others
come to it through gossip (`switch`): also the lost one, when it is back.
"""

from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.crypto.hashing import TaggedHash
from parley.ledger.block import Leaf
from parley.ledger.contract.consortium import ENGINE, Engine
from parley.ledger.contract.state import Draft
from parley.ledger.contract.takeover import Promise, Takeover, epoch_of, is_possible, is_promised
from parley.ledger.electorate import Electorate, ends, origin
from parley.ledger.encoding import EncodingError, encode
from parley.ledger.engines.embedded import cosigner, loading
from parley.ledger.engines.embedded.cosigner import Rejected
from parley.ledger.engines.embedded.log import MemberLog, not_fetched
from parley.ledger.engines.embedded.promises import Succession
from parley.ledger.engines.embedded.workbench import Workbench
from parley.ledger.transaction import Transaction

EPOCHS_AHEAD: Final = 1 << 20
"""How far ahead of the ledger an epoch is listened to."""
_NONCE: Final = TaggedHash("parley/takeover/nonce/v1")


class Handover:
    """What one member knows of promises.

    Args:
        bench: shared with the other parts.
    """

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._log = bench.log
        self._known: dict[str, Succession] = {}
        own = self._log.promise.made
        if own is not None:
            self._known[self._log.name] = own

    def shown(self) -> tuple[Succession, ...]:
        """The latest promise of every member, for gossip."""
        era = self._log.era
        return tuple(known for known in self._known.values() if known.epoch > era)

    async def promise(self, successor: str) -> Succession:
        """Promise that ``successor`` orders from now on; this member signs nothing else until then."""
        made = await self._bench.step(self._promise, successor)
        self._bench.around.log(f"promised that {successor} orders from now on, in epoch {made.epoch}")
        await self.take_over()
        return made

    def _promise(self, successor: str) -> Succession:
        log = self._log
        if not log.size:
            raise not_fetched(log.name)
        _check_replaceable(log)
        if Electorate.of(log.replica.state).key(successor) is None or successor == self._bench.leader:
            raise UsageError(
                "not-a-successor",
                f"{successor} is no active member, or orders already",
                remedy="name another active member",
            )
        epochs = [known.epoch for known in self._known.values() if known.successor == successor]
        own = log.promise.made
        lowest = max(log.era, own.epoch if own is not None else 0) + 1
        if own is not None and own.successor == successor and own.epoch > log.era:
            lowest = own.epoch
        made = log.promise_to(successor, max([lowest, *epochs]))
        self._known[log.name] = made
        return made

    async def learn(self, shown: tuple[Succession, ...]) -> None:
        """Take in the promises that another member has shown; those that hold."""
        news: bool = await self._bench.step(self._learn, shown)
        if news:
            await self.take_over()

    def _learn(self, shown: tuple[Succession, ...]) -> bool:
        state, era, news = self._log.replica.state, self._log.era, False
        for one in shown:
            known = self._known.get(one.promise.member)
            newer = era < one.epoch <= era + EPOCHS_AHEAD and (known is None or known.epoch < one.epoch)
            if newer and is_promised(state, one.epoch, one.successor, one.promise):
                self._known[one.promise.member] = one
                news = True
        return news

    async def take_over(self) -> None:
        """As the successor: go on with the log, if a majority has promised it."""
        await self._bench.carry(self._taking_over())

    async def _taking_over(self) -> None:
        if await self._bench.step(self._take_over):
            self._bench.follows_or_succeeds()
            await self._bench.settle()

    def _take_over(self) -> bool:
        log, agreed = self._log, self._agreed()
        if agreed is None:
            return False
        size, body = agreed
        if size < log.size:
            cut(log, size)
        now = int(self._bench.around.wall())
        executed, _ = log.prepare([_transaction(log, body)], now)
        if not executed.receipts or not executed.receipts[0].accepted:
            return False
        log.seal(executed, now)
        return True

    def _agreed(self) -> tuple[int, Takeover] | None:
        """Where the log goes on with us, and by whose promises; None unless a majority has promised it."""
        log, own = self._log, self._log.promise.made
        if not log.size or own is None or own.successor != log.name:
            return None
        promises = sorted(self._good(own.epoch), key=lambda promise: promise.member)
        may = own.epoch > log.era and not self._bench.orders
        if not may or len(promises) < Electorate.of(log.replica.state).quorum:
            return None
        era, size = max((promise.era, promise.size) for promise in promises)
        # having signed more, we have given the promise up since, and signed the last block of this engine
        signed_more = log.signed.era == era and log.signed.size > size
        if era != log.era or signed_more or not log.final_size <= size <= log.size:
            return None
        return size, Takeover(epoch=own.epoch, promises=tuple(promises))

    def _good(self, epoch: int) -> list[Promise]:
        """The promises of this epoch to us by members whose highest checkpoint is in our log."""
        log = self._log
        return [
            known.promise
            for known in self._known.values()
            if (known.epoch, known.successor) == (epoch, log.name)
            and is_promised(log.replica.state, epoch, log.name, known.promise)
            and _holds(log, known.promise)
        ]


def _check_replaceable(log: MemberLog) -> None:
    """Refuse a promise that can lead to nothing: who has promised signs no more until the takeover."""
    replica, ended = log.replica, ends(log.replica)
    if ended and (log.may_sign() or log.size in (log.signed.size, log.final_size)):
        raise UsageError(
            "no-sequencer",
            f"{log.name} has the last block of the embedded engine already, at height {replica.height}; "
            "CometBFT orders what follows",
            remedy="leave the parties running: they pass it on, and go over once a majority has signed it",
        )
    if not is_possible(replica.state, replica.height if ended else replica.height + 1):
        until = Draft(replica.state).known(Engine, ENGINE).height
        raise UsageError(
            "move-decided",
            f"the members have decided that CometBFT orders from height {until} on, and the version of the "
            "contract that they follow knows no takeover after that",
            remedy="start the sequencer again, or a copy of its files, until that height is reached",
        )


def _holds(log: MemberLog, promise: Promise) -> bool:
    if promise.era != log.era or not promise.size:
        return promise.era <= log.era
    return promise.size <= log.size and log.root_at(promise.size).hex() == promise.root


def _transaction(log: MemberLog, body: Takeover) -> bytes:
    plain = msgspec.to_builtins(body)
    asked = Transaction(
        consortium=origin(log.replica.state).removeprefix("parley/"),
        sender=log.name,
        key=log.key_id,
        type="sequencer.takeover",
        body=plain,
        expires=log.replica.height + 1,
        nonce=_NONCE(encode(plain))[:16].hex(),
    )
    return log.signed_transaction(asked)


def cut(log: MemberLog, size: int) -> None:
    """Take the log back to ``size`` leaves; our own transactions behind that are to be submitted again."""
    log.cut(loading.replayed(log.store, size))


def switch(log: MemberLog, first: int, leaves: tuple[bytes, ...], note: bytes) -> None:
    """Go over to a successor's log, which leaves ours at ``first``, by the block with its takeover.

    Numbered checks: 1 the block is one takeover, of a later epoch, with promises of a majority; 2 nothing
    that is final lies behind it; 3 executed where it stands it is accepted, and all holds that
    `cosigner.take` checks.

    Raises:
        Rejected: a check failed; nothing was changed.
    """
    # 1
    _check_promises(log, leaves)
    # 2
    if first < log.final_size:
        raise Rejected(
            "takeover-below-final",
            f"takes over at {first} leaves; {log.final_size} are final here, so somebody's promise is false",
        )
    # 3
    replica = loading.replayed(log.store, first)
    cosigner.checked(log, replica, leaves, note)
    log.cut(replica)
    cosigner.take(log, first, leaves, note)


def _check_promises(log: MemberLog, leaves: tuple[bytes, ...]) -> None:
    try:
        (leaf,) = leaves
        transaction = Leaf.decoded(leaf).opened().transaction
        body = msgspec.convert(transaction.body, Takeover)
    except (ValueError, EncodingError, msgspec.ValidationError):
        raise Rejected("takeover-bad", "left our log by something else than a takeover") from None
    state = log.replica.state
    good = {
        promise.member
        for promise in body.promises
        if is_promised(state, body.epoch, transaction.sender, promise)
    }
    if body.epoch <= epoch_of(state) or len(good) < Electorate.of(state).quorum:
        raise Rejected("takeover-bad", "left our log without good promises of a majority")
