"""A model as one of its owners uses it: our share, our table, and how its plan has ids compared."""

import hashlib
import os
from dataclasses import dataclass
from typing import Self

from parley.core.errors import PolicyRefused, UsageError
from parley.core.plan import Plan, decode_plan
from parley.learn.shares import ModelShare, encode_share
from parley.protocols.attending import Terms
from parley.store.catalogue import TableRecord
from parley.store.home import Home


@dataclass(frozen=True)
class Subject:
    """What serving a model needs of our home.

    Attributes:
        home: ours.
        share: our piece.
        plan: that it was trained by.
        table: our registered table of that plan.
        threads: for computations.
    """

    home: Home
    share: ModelShare
    plan: Plan
    table: TableRecord
    threads: int

    @classmethod
    def of(cls, home: Home, model: str) -> Self:
        """Look it up.

        Raises:
            UsageError: ``no-such-model``, ``plan-forgotten`` or ``unknown-table``, or the share is damaged.
        """
        share = home.share(model)
        record = home.catalogue.run(model)
        if record is None:
            raise UsageError(
                "plan-forgotten",
                f"nothing is noted any more of the run that made model {model}, nor of its plan",
                remedy="restore the store from a backup, or train again",
            )
        plan = decode_plan(record.plan.encode())
        table = home.catalogue.table(plan.parties[home.settings.party].table)
        return cls(home, share, plan, table, home.settings.threads or os.cpu_count() or 1)

    @property
    def model(self) -> str:
        """The identifier."""
        return self.share.model

    @property
    def rule(self) -> str:
        """By which ids are normalised."""
        return self.plan.alignment.rule

    def check_committed(self, terms: Terms) -> None:
        """Refuse to use another piece than the one that the ledger has of us.

        Raises:
            PolicyRefused: ``share-not-committed``.
        """
        if terms.share != hashlib.sha256(encode_share(self.share)).hexdigest():
            raise PolicyRefused(
                "share-not-committed",
                f"the ledger has another piece of model {self.model} of ours than the one in our home",
                remedy="restore models/ in the home from a backup",
            )
