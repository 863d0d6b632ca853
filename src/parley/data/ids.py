"""Ids made comparable: two organisations write the same account or person in different ways.

A rule says how an id is written before it is compared. Every rule first applies Unicode NFKC, so that
full-width digits and composed letters match their plain forms; integers, whole floats and text that print
alike match.

==========  =======================================================================================
as-is       nothing more
trim        white space around the id goes
upper       as trim, in capitals
digits      only the digits 0 to 9 stay, leading zeros included: account and national numbers
email       as trim, in lower case; dots and tags (``a.b+c@…``) stay, as mail hosts differ about them
phone:+CC   E.164 with ``CC`` the country code of numbers written without one, e.g. ``phone:+49``
==========  =======================================================================================

Limits of ``phone``: a number counts as international only if it begins with ``+`` or ``00``; else the
trunk prefix (0 in most countries) goes and the country code is put before it. Extensions and vanity
letters are not understood. What has fewer than 7 or more than 15 digits counts as no id at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from parley.core.errors import UsageError
from parley.data.cells import rows_text, text

RuleName = Literal["as-is", "trim", "upper", "digits", "email", "phone"]
OnDuplicate = Literal["error", "first", "last", "drop"]
OnMissing = Literal["error", "drop"]

Rows: TypeAlias = NDArray[np.int64]

_RULES: Final = get_args(RuleName)
_EXACT: Final = 2.0**53
"""Floats from here on skip integers, so an id held as such a float may be another one."""
_TRUNK: Final = {"1": "1", "7": "8", "36": "06", "39": ""}
"""Trunk prefixes that are not 0, by country code: North America, Russia, Hungary; none in Italy."""
_PHONE: Final = r"^\+[1-9][0-9]{6,14}$"


@dataclass(frozen=True, slots=True)
class IdRule:
    """How ids are written before they are compared.

    Attributes:
        name: one of the rules above.
        country: digits of the country code for ``phone``, else empty.

    """

    name: RuleName
    country: str = ""

    def __str__(self) -> str:
        return f"{self.name}:+{self.country}" if self.country else self.name


@dataclass(frozen=True, eq=False)
class Ids:
    """Distinct ids in one buffer, ready to be hashed without an object for each.

    Attributes:
        buffer: the ids as UTF-8, one after another.
        offsets: uint64[ids + 1]; id ``i`` is ``buffer[offsets[i]:offsets[i + 1]]``.
        rows: int64[ids]; where each stands in the table, ascending.

    """

    buffer: bytes
    offsets: NDArray[np.uint64]
    rows: Rows

    def __len__(self) -> int:
        """Ids."""
        return len(self.rows)

    def __getitem__(self, index: int) -> bytes:
        """One id as UTF-8; for looking at a few."""
        return self.buffer[int(self.offsets[index]) : int(self.offsets[index + 1])]


def parse_rule(words: str) -> IdRule:
    """The rule that a plan or a command names, e.g. ``digits`` or ``phone:+49``.

    Raises:
        UsageError: ``id-rule-unknown``.

    """
    name, _, country = words.partition(":")
    country = country.removeprefix("+")
    is_code = re.fullmatch(r"[1-9][0-9]{0,2}", country) is not None
    if name in _RULES and is_code == (name == "phone") and (is_code or not country):
        return IdRule(cast("RuleName", name), country)
    raise UsageError(
        "id-rule-unknown",
        f"there is no id rule {words!r}",
        remedy=f"use one of {', '.join(_RULES[:-1])}, or phone with a country code such as phone:+49",
    )


def normalise(
    series: pl.Series,
    rule: IdRule | str,
    *,
    on_duplicate: OnDuplicate = "error",
    on_missing: OnMissing = "error",
) -> Ids:
    """The ids of a table under a rule, each once.

    Args:
        series: the id column: text, integers or whole floats.
        rule: how they are written before they are compared.
        on_duplicate: keep the first or the last row of an id that occurs more than once, or drop all of
            its rows; by default an error.
        on_missing: drop rows without an id; by default an error.

    Raises:
        UsageError: ``id-missing`` for ids that are null, empty or nothing under the rule; ``id-duplicate``;
            ``id-type`` for columns that cannot be ids; ``id-inexact`` for floats that may have lost digits;
            ``id-rule-unknown``. Rows and counts stand in the private text alone, values in neither.

    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    written = _written(_as_text(series), rule)
    present = written.is_not_null() & (written != "").fill_null(value=False)
    if on_missing == "error" and not present.all():
        raise _missing((~present).arg_true().to_numpy().astype(np.int64), series.name, rule)
    rows = present.arg_true()
    ids = written.gather(rows)
    kept = _distinct(ids, rows, series.name, on_duplicate)
    if kept is not None:
        ids, rows = ids.filter(kept), rows.filter(kept)
    offsets = np.zeros(len(ids) + 1, dtype=np.uint64)
    np.cumsum(ids.str.len_bytes().to_numpy(), out=offsets[1:], dtype=np.uint64)
    return Ids(end_to_end(ids), offsets, rows.to_numpy().astype(np.int64))


def written(series: pl.Series, rule: IdRule | str) -> pl.Series:
    """Ids as a rule writes them, equal ones left where they are; null where nothing is left of one.

    Raises:
        UsageError: ``id-type``, ``id-inexact`` or ``id-rule-unknown``, as `normalise`.

    """
    rule = parse_rule(rule) if isinstance(rule, str) else rule
    ids = _written(_as_text(series), rule)
    return ids.set(ids == "", None)


def written_few(ids: Sequence[str], rule: IdRule) -> list[str | None] | None:
    """The same of a few texts, for which Polars would take longer to begin.

    None where it is left to Polars what comes of them: only printable ASCII means the same to both.
    """
    if rule.name == "phone" or not all(each.isascii() and each.isprintable() for each in ids):
        return None
    match rule.name:
        case "as-is":
            found = list(ids)
        case "trim":
            found = [each.strip() for each in ids]
        case "upper":
            found = [each.strip().upper() for each in ids]
        case "email":
            found = [each.strip().lower() for each in ids]
        case "digits":
            found = ["".join(filter(str.isdigit, each)) for each in ids]
    return [each or None for each in found]


def end_to_end(ids: pl.Series) -> bytes:
    """Texts, none missing, as UTF-8 one after another."""
    return str(ids.str.join("").item()).encode()


def are_distinct(ids: pl.Series) -> bool:
    """Whether no text of a column is there twice."""
    hashes = np.sort(ids.to_frame().hash_rows().to_numpy())
    return bool((hashes[1:] != hashes[:-1]).all()) or ids.n_unique() == len(ids)


def _as_text(series: pl.Series) -> pl.Series:
    """The column as text, if it can be an id at all."""
    dtype = series.dtype
    usable = dtype.is_numeric() or isinstance(dtype, pl.String | pl.Categorical | pl.Enum) or dtype == pl.Null
    if not usable:
        raise _not_an_id(series, f"its type is {dtype}")
    if dtype.is_float():
        known = series.drop_nulls().drop_nans()
        if (known.abs() >= _EXACT).any():
            raise UsageError(
                "id-inexact",
                f"the ids in column {series.name!r} are floats beyond 2^53 and may have lost digits",
                remedy="read the column as text or integers",
            )
        if (known != known.round()).any():
            raise _not_an_id(series, "it holds fractions")
    return text(series)


def _not_an_id(series: pl.Series, why: str) -> UsageError:
    return UsageError(
        "id-type",
        f"column {series.name!r} cannot hold ids: {why}",
        remedy="name a column of text or integers as the id",
    )


def _written(ids: pl.Series, rule: IdRule) -> pl.Series:
    """Each id as the rule writes it; null or empty if nothing is left."""
    ids = _nfkc(ids)
    match rule.name:
        case "as-is":
            return ids
        case "trim":
            return ids.str.strip_chars()
        case "upper":
            return _nfkc(ids.str.strip_chars().str.to_uppercase())
        case "email":
            return _nfkc(ids.str.strip_chars().str.to_lowercase())
        case "digits":
            plain = not ids.str.contains(r"[^0-9]").any()  # to find that out takes a third of the time
            return ids if plain else ids.str.replace_all(r"[^0-9]+", "")
        case "phone":
            return _phone(ids, rule.country)


def _nfkc(ids: pl.Series) -> pl.Series:
    """Compatibility composition; ASCII, which it cannot change, is left alone for speed."""
    ascii_only = (ids.str.len_bytes() == ids.str.len_chars()).all()
    return ids if ascii_only else ids.str.normalize("NFKC")


def _phone(ids: pl.Series, country: str) -> pl.Series:
    """E.164, or null for what is no telephone number."""
    trunk = _TRUNK.get(country, "0")
    raw = pl.col("raw")
    compact = raw.str.replace_all(r"[\s\-./]+", "").str.replace(r"^(\+|00)(\d+)\(0\)", "${1}${2}")
    bare = compact.str.replace_all(r"[()]", "")
    national = pl.concat_str(pl.lit(f"+{country}"), bare.str.replace(f"^{trunk}", ""))
    e164 = (
        pl.when(bare.str.starts_with("+"))
        .then(bare)
        .when(bare.str.starts_with("00"))
        .then(bare.str.replace("^00", "+"))
        .otherwise(national)
    )
    return (
        ids.to_frame("raw")
        .select(e164.alias("raw"))
        .select(pl.when(raw.str.contains(_PHONE)).then(raw))
        .to_series()
    )


def _distinct(ids: pl.Series, rows: pl.Series, column: str, on_duplicate: OnDuplicate) -> pl.Series | None:
    """Which ids to keep: bool, or nothing if none occurs twice."""
    if are_distinct(ids):
        return None
    match on_duplicate:
        case "first":
            return ids.is_first_distinct()
        case "last":
            return ids.is_last_distinct()
        case "drop":
            return ~ids.is_duplicated()
        case "error":
            again = rows.filter(~ids.is_first_distinct()).to_numpy()
            raise UsageError(
                "id-duplicate",
                f"{len(again)} ids in column {column!r} have occurred before: {rows_text(again)}",
                remedy="make one row of each id in the source, or with a query, and register the table again",
            )


def _missing(rows: Rows, column: str, rule: IdRule) -> UsageError:
    return UsageError(
        "id-missing",
        f"{len(rows)} ids in column {column!r} are empty under the rule {rule}: {rows_text(rows)}",
        remedy="fill them in, or leave those rows out of the source or with a query",
    )
