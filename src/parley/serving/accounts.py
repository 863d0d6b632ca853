"""The party's accounts of predictions: pages of them become batches on the ledger, in order."""

import asyncio
from collections import defaultdict
from typing import Final

from parley.ledger.contract.models import Model, model_path
from parley.ledger.contract.predictions import Batch, batch_path
from parley.ledger.encoding import Value
from parley.party.ledger import PartyLedger, check_accepted

_GAP: Final = "batch-gap"
_AT_ONCE: Final = 256
"""Batches that are looked at before others get their turn."""


class Accounts:
    """Enters pages of the models that this party asks; one page of a model at a time.

    Args:
        ledger: of the party.
    """

    def __init__(self, ledger: PartyLedger) -> None:
        self._ledger = ledger
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(self, model: str, root: bytes, count: int, since: int = 0) -> int:
        """Enter a page, unless it is there already; returns its batch.

        A program that was killed before it heard of its batch asks for the same page again.

        Args:
            model: whose predictions they are.
            root: Merkle root over them.
            count: how many.
            since: batches of the model that were there before the page was begun; it is none of those.

        Raises:
            PolicyRefused: the contract refuses it.
            ParleyError: the ledger cannot take it now.
        """
        async with self._turns[model]:
            while True:
                batch, found = await self._look_for(model, root.hex(), since)
                if found:
                    return batch
                since = batch
                body: dict[str, Value] = {"model": model, "batch": batch, "root": root.hex(), "count": count}
                receipt = await self._ledger.transact("prediction.commit", body)
                if receipt.code != _GAP:  # else another of its batches came in between
                    check_accepted("prediction.commit", receipt)
                    return batch

    async def _look_for(self, model: str, root: str, first: int) -> tuple[int, bool]:
        """The batch of a root, from a number on, and whether there is one; else the next batch's number."""
        while True:
            record = self._ledger.draft.find(Model, model_path(model))
            due = 0 if record is None else record.batches
            last = min(due, first + _AT_ONCE)
            for number in range(first, last):
                batch = self._ledger.draft.find(Batch, batch_path(model, number))
                if batch is not None and batch.root == root:
                    return number, True
            if last >= due or first >= due:
                return due, False
            first = last
            await asyncio.sleep(0)
