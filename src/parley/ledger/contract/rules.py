"""The table of transaction types of each version of the contract."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from parley.ledger.contract import (
    approvals,
    conduct,
    endpoints,
    evidence,
    grants,
    membership,
    merging,
    models,
    predictions,
    rounds,
    runs,
    tables,
    takeover,
    votes,
)
from parley.ledger.contract.rule import Rule, Rules


def _table(*modules: tuple[Rule[Any], ...]) -> Rules:
    return MappingProxyType({rule.name: rule for rules in modules for rule in rules})


VERSION_1: Final = _table(
    membership.RULES,
    endpoints.RULES,
    votes.RULES,
    tables.RULES,
    approvals.RULES,
    grants.RULES,
    runs.RULES,
    rounds.RULES,
    models.RULES,
    predictions.RULES,
    conduct.RULES,
    evidence.RULES,
    takeover.RULES,
)

VERSION_2: Final[Rules] = MappingProxyType({**VERSION_1, **_table(rounds.RULES_2, evidence.RULES_2)})
"""Several rounds are committed to in one transaction, and such a transaction is evidence."""

VERSION_3: Final[Rules] = MappingProxyType({**VERSION_2, **_table(merging.RULES_3)})
"""Owners may let one of them hold the whole forest of a model."""

VERSION_4: Final[Rules] = VERSION_3
"""The sequencer can be replaced until the last block before CometBFT: `consortium.may_be_replaced`."""

VERSIONS: Final[Mapping[int, Rules]] = MappingProxyType(
    {1: VERSION_1, 2: VERSION_2, 3: VERSION_3, 4: VERSION_4}
)
"""Version → its rules. A version that history was made under is never changed or taken out."""
NEWEST: Final = max(VERSIONS)
"""Under which new consortia are founded."""
