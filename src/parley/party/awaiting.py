"""One run as our ledger member sees it, and waiting for it to change there."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from parley.core.errors import PeerLost, PolicyRefused, UsageError
from parley.ledger.contract.runs import Run, run_path
from parley.party.ledger import PartyLedger

SETTLE: Final = 60.0
"""Seconds to wait for the others' commitments."""

R = TypeVar("R")


@dataclass(frozen=True)
class Awaiting:
    """A run on the ledger.

    Attributes:
        ledger: of the party.
        name: of the run.
    """

    ledger: PartyLedger
    name: str

    def find(self) -> Run | None:
        """How it stands, if our member has heard of it."""
        return self.ledger.draft.find(Run, run_path(self.name))

    def committed(self) -> int:
        """How many rounds we have committed to, as far as our member knows."""
        run = self.find()
        return 0 if run is None else run.committed[self.ledger.member.name]

    def alive(self) -> Run:
        """How it stands; it must not have ended without a model."""
        run = self.ledger.draft.known(Run, run_path(self.name))
        if run.state in ("cancelled", "failed"):
            raise PolicyRefused(
                "run-ended-on-ledger",
                f"{run.ended_by} ended {run.id} on the ledger: {run.reason}",
                remedy=f"ask {run.ended_by}",
            )
        return run

    def check_alive(self) -> None:
        """As `alive`, for the error alone."""
        self.alive()

    async def until(self, found: Callable[[], R | None], what: str, patience: float = SETTLE) -> R:
        """Wait until our state shows something; it may not be final yet.

        Raises:
            PeerLost: it did not within so many seconds.
        """
        at_once = found()
        if at_once is not None:
            return at_once
        try:
            async with asyncio.timeout(patience):
                async for _ in self.ledger.member.changes():
                    result = found()
                    if result is not None:
                        return result
        except TimeoutError:
            raise PeerLost(
                "ledger-silent",
                f"waited {patience:g} s for {what} ({self.name})",
                peer=self.ledger.member.leader,
                remedy="see `parley ledger show`, and ask the members that are missing there",
            ) from None
        raise UsageError(
            "ledger-stopped",
            f"our ledger stopped while we waited for {what} ({self.name})",
            remedy="see the party's log, and start it again with `parley up`",
        )
