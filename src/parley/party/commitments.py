"""A party's commitments to the rounds of one run: made in order, kept, and submitted beside the work.

Round 0 is the alignment, then come the training rounds, then the evaluation. A commitment is kept on the
disk before what the round leaves is, and submitted once the next round is kept as well: by then every
party of the run keeps the round (see `parley.party.run`), so nobody goes back behind a commitment.

Rounds that follow one another closely are committed to at once, in as few transactions as can be: each costs
every member of the ledger a signature check, and a block for it more than that.
"""

import asyncio
import json
from collections import deque
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from parley.ledger.contract.rounds import ROUNDS_AHEAD, ROUNDS_AT_ONCE
from parley.ledger.encoding import Value
from parley.party.awaiting import Awaiting
from parley.party.ledger import check_accepted
from parley.store.journal import Journal

Commitment: TypeAlias = tuple[str, dict[str, Value]]
"""Type and body of a transaction that commits to a round."""

_MOMENT: Final = 15.0
"""Seconds a commitment waits for company."""
_PART: Final = 4
"""It waits no longer than one such part of the plan's patience: commitments show that the run goes on."""
_PAUSED: Final = "run-state"
_EARLY: Final = "round-gap"
_KNOWN: Final = "commitment-duplicate"
"""Refusals of a commitment: while the run stood still, before the one it follows, and a second time."""
_IN_ONE: Final = 2
"""Version of the contract from which one transaction commits to several rounds."""
_AGAIN: Final = 0.5
"""Seconds after which a commitment is submitted anew that came while the run stood still on the ledger."""


class Commitments:
    """Those of one party.

    Args:
        run: on the ledger.
        journal: keeps them.
    """

    def __init__(self, run: Awaiting, journal: Journal) -> None:
        self._run = run
        self._journal = journal
        self._held: deque[Commitment] = deque()
        self._due: asyncio.Queue[Commitment | None] = asyncio.Queue()
        self._submitting: asyncio.Task[None] | None = None
        self._next = 0

    def begin(self, place: int) -> None:
        """Go on from a place that all parties keep: what was committed to before it may go in now."""
        made = [_read(line) for line in self._journal.said()[:place]]
        for commitment in made[self._run.committed() :]:
            self._due.put_nowait(commitment)
        self._next = place
        self._submitting = asyncio.create_task(self._submit_all())

    async def add(self, root: str, messages: int, rows: int) -> None:
        """Commit to the next round; see `Gate.said`."""
        if self._submitting is not None and self._submitting.done():
            self._submitting.result()
        stated: dict[str, Value] = {"run": self._run.name, "root": root, "messages": messages}
        commitment: Commitment = (
            ("run.align", {"rows": rows, **stated})
            if rows
            else ("round.commit", {"round": self._next, **stated})
        )
        self._next += 1
        await asyncio.to_thread(self._journal.say, json.dumps(commitment).encode())
        self._held.append(commitment)

    def kept(self) -> None:
        """The round just committed to is kept: all parties keep the ones before."""
        while len(self._held) > 1:
            self._due.put_nowait(self._held.popleft())

    async def flush(self) -> None:
        """See every commitment in: nothing more is said in the run.

        Raises:
            ParleyError: one was refused, or the ledger is silent.
        """
        for commitment in (*self._held, None):
            self._due.put_nowait(commitment)
        self._held.clear()
        if self._submitting is not None:
            await self._submitting

    def stop(self) -> None:
        """Submit nothing more."""
        if self._submitting is not None:
            self._submitting.cancel()
            self._submitting.add_done_callback(_heard)  # told, or part of what is being told

    async def _submit_all(self) -> None:
        """Submit commitments in order."""
        while (first := await self._due.get()) is not None:
            if first[0] == "run.align":
                await self._submit(first)
                continue
            together, over = await self._gathered(first)
            await self._run.until(partial(self._room_for, len(together)), "the other parties' rounds of it")
            await self._submit(*self._transactions(together))
            if over:
                return

    async def _gathered(self, first: Commitment) -> tuple[list[Commitment], bool]:
        """The commitments that come within a moment, and whether they are the last."""
        together = [first]
        with suppress(TimeoutError):
            async with asyncio.timeout(min(_MOMENT, self._run.alive().limits.patience / _PART)):
                while len(together) < ROUNDS_AHEAD:
                    following = await self._due.get()
                    if following is None:
                        return together, True
                    together.append(following)
        return together, False

    def _transactions(self, rounds: list[Commitment]) -> list[Commitment]:
        """What commits to rounds that follow one another, under the rules that hold now."""
        if self._run.ledger.version < _IN_ONE:
            return rounds
        places = range(0, len(rounds), ROUNDS_AT_ONCE)
        return [self._several(rounds[place : place + ROUNDS_AT_ONCE]) for place in places]

    def _several(self, rounds: list[Commitment]) -> Commitment:
        said: list[Value] = [{"root": body["root"], "messages": body["messages"]} for _, body in rounds]
        return "rounds.commit", {"run": self._run.name, "first": rounds[0][1]["round"], "rounds": said}

    async def _submit(self, *transactions: Commitment) -> None:
        """Have them accepted; what went in before an interruption is known, and that is well.

        They are submitted at once, so that they share a block, and come in in their order: members,
        sequencers and nodes keep it. Should one overtake all the same, it is refused, and submitted again.
        """
        transact = self._run.ledger.transact
        receipts = await asyncio.gather(*(transact(type_, body) for type_, body in transactions))
        for (type_, body), made in zip(transactions, receipts, strict=True):
            receipt = await transact(type_, body) if made.code == _EARLY else made
            while receipt.code == _PAUSED:
                self._run.check_alive()
                await asyncio.sleep(_AGAIN)
                receipt = await transact(type_, body)
            if receipt.code != _KNOWN:
                check_accepted(type_, receipt)

    def _room_for(self, rounds: int) -> bool | None:
        """Whether so many rounds may be committed to: all have aligned, and nobody is far behind."""
        run = self._run.alive()
        ahead = run.committed[self._run.ledger.member.name] - run.closed
        return True if run.state == "training" and ahead + rounds <= ROUNDS_AHEAD else None


def _heard(submitting: "asyncio.Task[None]") -> None:
    if not submitting.cancelled():
        submitting.exception()


def _read(line: bytes) -> Commitment:
    type_, body = json.loads(line)
    return type_, body
