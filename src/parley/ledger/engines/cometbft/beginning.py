"""How a chain of a consortium begins: the JSON value ``app_state`` of its genesis file.

    {"genesis": SPECIFICATION, "nodes": {"bank": NODE ID, …}}
    {"checkpoint": TEXT,       "nodes": {"bank": NODE ID, …}}

The first begins a ledger with the contract's genesis. The second goes on from the last checkpoint of the
embedded engine, which every party has in its own database; without its signatures, of which each party may
hold others, so that all write the same file. ``nodes`` says whose node is whose until the
members announce them on the ledger, which needs connected nodes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from parley.core.errors import UsageError
from parley.ledger.encoding import Value

_KEYS: Final = ({"genesis", "nodes"}, {"checkpoint", "nodes"})


@dataclass(frozen=True)
class Founding:
    """A new ledger: the specification of its genesis."""

    spec: Value


@dataclass(frozen=True)
class Carried:
    """A ledger that goes on: the text of the checkpoint behind which it does."""

    checkpoint: str


@dataclass(frozen=True)
class Beginning:
    """What the members agree on before the first block.

    Args:
        ledger: new, or carried from the embedded engine.
        nodes: node id by member.

    """

    ledger: Founding | Carried
    nodes: Mapping[str, str]

    def app_state(self) -> dict[str, Value]:
        """The JSON value for the genesis file."""
        nodes: dict[str, Value] = dict(self.nodes)
        match self.ledger:
            case Founding(spec):
                return {"genesis": spec, "nodes": nodes}
            case Carried(text):
                return {"checkpoint": text, "nodes": nodes}

    @classmethod
    def read(cls, app_state: bytes) -> "Beginning":
        """What a genesis file says.

        Raises:
            UsageError: ``app-state-invalid``.

        """
        try:
            value = json.loads(app_state)
            if not isinstance(value, dict) or value.keys() not in _KEYS:
                raise _invalid("it must have nodes, and either genesis or checkpoint")
            nodes = msgspec.convert(value["nodes"], dict[str, str])
            if "genesis" in value:
                return cls(Founding(value["genesis"]), nodes)
            return cls(Carried(msgspec.convert(value["checkpoint"], str)), nodes)
        except (ValueError, RecursionError, msgspec.ValidationError) as error:
            raise _invalid(str(error)) from None


def _invalid(what: str) -> UsageError:
    return UsageError(
        "app-state-invalid",
        f"the app_state of the chain's genesis cannot be used: {what}",
        remedy="write the genesis file anew, the same at every member",
    )
