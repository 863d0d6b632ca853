"""A plan: what is to be done, by whom, with which tables, columns and parameters, and why.

Plans are written in TOML by people and travel as JSON between parties; `Plan.digest` names one.
"""

import hashlib
import tomllib
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from parley.core.errors import UsageError

_TAG: Final = b"parley/plan/v1\0"
_LARGEST: Final = (1 << 53) - 1
"""The largest integer that the ledger can write down."""
Name = Annotated[str, Meta(min_length=1, max_length=128)]
_UNSHOWN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Categories of characters that could forge what a terminal shows: controls, surrogates, line separators."""
_TURNING: Final = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
"""Directions of characters that turn the writing around."""
_LINES: Final = str.maketrans("\t\r\n", "   ")
Share = Annotated[float, Meta(ge=0, lt=1)]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one party brings.

    Attributes:
        table: its registered table.
        id: the column that names a person or thing.
        columns: features to use; none named means all that its owner allows.
        label: the column to be predicted; at exactly one party, the active one.
        weight: column of sample weights; only beside the label.
    """

    table: Name
    id: Name
    columns: tuple[Name, ...] = ()
    label: Name | None = None
    weight: Name | None = None


class Alignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How ids are compared: the rule by which every party normalises them."""

    rule: Name = "as-is"


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which common rows are held out.

    Attributes:
        test_size: share of the common rows kept from training, to measure the model on.
        validation_size: share of the rest that early stopping watches.
        seed: of the choice; every party makes the same one.
    """

    test_size: Share = 0.3
    validation_size: Share = 0.0
    seed: Annotated[int, Meta(ge=0, le=_LARGEST)] = 0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far an approval of the plan goes.

    Attributes:
        rows: common rows at most.
        runs: how often the plan may be run.
        predictions: released for its models together.
        days: days from its proposal within which it may be run.
        patience: seconds that a run may stand still before anyone may declare it failed.
    """

    rows: Annotated[int, Meta(ge=1, le=_LARGEST)] = 100_000_000
    runs: Annotated[int, Meta(ge=1, le=1000)] = 1
    predictions: Annotated[int, Meta(ge=0, le=_LARGEST)] = 0
    days: Annotated[int, Meta(ge=1, le=366)] = 7
    patience: Annotated[int, Meta(ge=60, le=86_400)] = 3600


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the parties agree to do.

    Attributes:
        name: for people.
        purpose: why; every owner of a table reads it.
        parties: by party name.
        algorithm: ``boosted-trees``.
        model: parameters of the algorithm, by its own names.
        alignment: how ids are compared.
        evaluation: which rows are held out.
        limits: how far an approval goes.
    """

    name: Name
    purpose: Annotated[str, Meta(min_length=1, max_length=2000)]
    parties: dict[Name, Part]
    algorithm: Name = "boosted-trees"
    model: dict[str, Any] = {}
    alignment: Alignment = Alignment()
    evaluation: Evaluation = Evaluation()
    limits: Limits = Limits()

    @property
    def active(self) -> str:
        """The party that holds the label."""
        return next(name for name, part in self.parties.items() if part.label is not None)

    @property
    def passive(self) -> tuple[str, ...]:
        """The other parties, in the plan's order."""
        return tuple(name for name in self.parties if name != self.active)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of the plan; equal plans have equal digests."""
        return hashlib.sha256(_TAG + encode_plan(self)).hexdigest()


def encode_plan(plan: Plan) -> bytes:
    """The plan as JSON with keys in a fixed order."""
    return msgspec.json.encode(plan, order="deterministic")


def decode_plan(data: bytes) -> Plan:
    """Read what `encode_plan` wrote.

    Raises:
        UsageError: it is not a plan.
    """
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_plan(str(error)) from None
    return _checked(plan)


def read_plan(text: str) -> Plan:
    """Read a plan as people write it, in TOML.

    Raises:
        UsageError: not TOML, an unknown or missing field, or not exactly one label.
    """
    try:
        plan = msgspec.convert(tomllib.loads(text), Plan)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise _bad_plan(str(error)) from None
    return _checked(plan)


def _checked(plan: Plan) -> Plan:
    for text in _texts(plan):
        if any(_forges(letter) for letter in text):
            raise _bad_plan(f"{text[:64]!r} contains a control character")
    labels = [name for name, part in plan.parties.items() if part.label is not None]
    if len(labels) != 1:
        raise _bad_plan(f"exactly one party must name a label; {len(labels)} do")
    if len(plan.parties) < 2:  # noqa: PLR2004
        raise _bad_plan("a joint plan needs at least two parties")
    weighted = [name for name, part in plan.parties.items() if part.weight is not None and name != labels[0]]
    if weighted:
        raise _bad_plan(f"sample weights belong to {labels[0]}, beside the label, not to {weighted[0]}")
    if plan.algorithm != "boosted-trees":
        raise _bad_plan(f"algorithm {plan.algorithm!r} is not known; this release has 'boosted-trees'")
    return plan


def _texts(plan: Plan) -> Iterator[str]:
    """All that people read of a plan; in the purpose a line may end."""
    yield from (plan.name, plan.purpose.translate(_LINES))
    for name, part in plan.parties.items():
        yield from (name, part.table, part.id, part.label or "", part.weight or "", *part.columns)


def _forges(letter: str) -> bool:
    return unicodedata.category(letter) in _UNSHOWN or unicodedata.bidirectional(letter) in _TURNING


def _bad_plan(why: str) -> UsageError:
    return UsageError(
        "bad-plan", f"the plan cannot be used: {why}", remedy="compare it with examples/credit/plan.toml"
    )
