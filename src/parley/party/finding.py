"""What an examination finds: a line for people and a record for scripts."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

from parley.core.errors import ParleyError

Verdict: TypeAlias = Literal["ok", "warning", "failure", "skipped"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at.

    Attributes:
        check: what; stable, in kebab case.
        verdict: how it is; ``skipped``: it could not be looked at, or there is nothing to look at.
        found: what was found, in words.
        remedy: what to do about it; empty where there is nothing to do.
        code: of the error, where one says what is wrong.
    """

    check: str
    verdict: Verdict
    found: str
    remedy: str = ""
    code: str = ""

    @classmethod
    def of(cls, check: str, error: ParleyError) -> "Finding":
        """A failure for which there is an error."""
        return cls(check, "failure", error.what, error.remedy, error.code)


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing has failed."""
    return all(each.verdict != "failure" for each in findings)
