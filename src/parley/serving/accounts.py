"""The party's accounts of predictions: pages of them become batches on the ledger, in order."""

import asyncio
from collections import defaultdict
from typing import Final

from parley.ledger.contract.models import Model, model_path
from parley.ledger.contract.predictions import Batch, batch_path
from parley.ledger.encoding import Value
from parley.party.ledger import PartyLedger, check_accepted

_GAP: Final = "batch-gap"
_LOOKED_BACK: Final = 256
"""Batches among which a page is looked for that may have been entered before."""


class Accounts:
    """Enters pages of the models that this party asks; one page of a model at a time.

    Args:
        ledger: of the party.
    """

    def __init__(self, ledger: PartyLedger) -> None:
        self._ledger = ledger
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(self, model: str, root: bytes, count: int) -> int:
        """Enter a page, unless it is there already; returns its batch.

        A program that was killed before it heard of its batch asks for the same page again.

        Args:
            model: whose predictions they are.
            root: Merkle root over them.
            count: how many.

        Raises:
            PolicyRefused: the contract refuses it.
            ParleyError: the ledger cannot take it now.
        """
        async with self._turns[model]:
            while True:
                batch = self._found(model, root.hex())
                if batch is not None:
                    return batch
                record = self._ledger.draft.find(Model, model_path(model))
                batch = 0 if record is None else record.batches
                body: dict[str, Value] = {"model": model, "batch": batch, "root": root.hex(), "count": count}
                receipt = await self._ledger.transact("prediction.commit", body)
                if receipt.code != _GAP:  # else another of its batches came in between
                    check_accepted("prediction.commit", receipt)
                    return batch

    def _found(self, model: str, root: str) -> int | None:
        draft = self._ledger.draft
        record = draft.find(Model, model_path(model))
        for number in reversed(range(0 if record is None else record.batches)[-_LOOKED_BACK:]):
            batch = draft.find(Batch, batch_path(model, number))
            if batch is not None and batch.root == root:
                return number
        return None
