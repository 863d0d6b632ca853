"""What requests hold: a field that the path names comes from it, others from the query or the JSON body."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from parley.party.gate import APPROVAL

MOST_RECORDS: Final = 1000
_Positive = Annotated[int, Meta(ge=1, le=(1 << 53) - 1)]
LONGEST_PLAN: Final = 262_144
"""Characters of a plan's text."""
RunName = Annotated[str, Meta(max_length=64, description="of a run, as `GET /v1/runs` lists it")]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A request."""


class Nothing(Asked, frozen=True):
    """A request that needs no particulars."""


class AboutPeer(Asked, frozen=True):
    """A question that may be about a peer."""

    peer: Annotated[str, Meta(max_length=64, description="with whom; empty: about our own site")] = ""


class ListPlans(Asked, frozen=True):
    """Which plans are wanted."""

    all: Annotated[bool, Meta(description="those that were decided too")] = False


class OnePlan(Asked, frozen=True):
    """A plan on the ledger."""

    plan: Annotated[str, Meta(max_length=64, description="its id; the beginning will do")]


class SubmitPlan(Asked, frozen=True):
    """A plan to be run."""

    plan: Annotated[str, Meta(min_length=1, max_length=LONGEST_PLAN, description="the plan, as TOML text")]
    wait: Annotated[
        float, Meta(ge=0, le=86_400, description="seconds that its approval on the ledger may take")
    ] = APPROVAL
    priority: Annotated[
        int,
        Meta(ge=-100, le=100, description="among runs that wait for their turn: the higher, the sooner"),
    ] = 0


class OneRun(Asked, frozen=True):
    """A run at our party."""

    run: RunName


class OneModel(Asked, frozen=True):
    """A model that we hold a piece of."""

    model: Annotated[
        str, Meta(pattern="^[a-z0-9-]{1,64}$", description="of a model, as `GET /v1/models` lists it")
    ]


class ReleaseModel(OneModel, frozen=True):
    """A release of a model, to which we consent."""

    predictions: Annotated[
        _Positive | None, Meta(description="how many; null: as many as the plan has left")
    ] = None
    until: Annotated[_Positive | None, Meta(description="seconds since 1970; null: the end of the plan")] = (
        None
    )


class MergeModel(OneModel, frozen=True):
    """A merge of a model, to which we consent."""

    receiver: Annotated[
        str, Meta(min_length=1, max_length=64, description="who may hold the whole: an owner of the model")
    ]


class Page(Asked, frozen=True):
    """A part of the ledger's history."""

    first: Annotated[int, Meta(ge=0, le=1 << 53, description="number of the first record wanted")] = 0
    limit: Annotated[int, Meta(ge=1, le=MOST_RECORDS, description="records at most")] = 100
