"""Parley: organisations learn a model together; every row stays at home.

The public names are loaded when first used, so that a part (such as a verifier that needs only
``parley.core``) does not load the whole.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parley.core.errors import ParleyError
    from parley.party.estimators import BoostedTrees
    from parley.party.simulation import AlignedRows, Consortium, simulate

__all__ = ["AlignedRows", "BoostedTrees", "Consortium", "ParleyError", "simulate"]

_HOMES = {
    "AlignedRows": "parley.party.simulation",
    "BoostedTrees": "parley.party.estimators",
    "Consortium": "parley.party.simulation",
    "ParleyError": "parley.core.errors",
    "simulate": "parley.party.simulation",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (the type checker sees the imports above)
    if name not in _HOMES:
        raise AttributeError(f"module 'parley' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
