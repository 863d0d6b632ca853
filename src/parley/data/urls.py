"""Urls of databases: filled from the environment, and shown without their secrets."""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from parley.core.errors import UsageError

PATIENCE: Final = 10
"""Seconds to wait for a server that does not answer."""
POSTGRES_SCHEMES: Final = ("postgresql://", "postgres://")
"""How the url of a PostgreSQL database may begin."""

_USER_PART: Final = re.compile(r"(://[^:/@]*):(?P<secret>.*)@")
_PASSWORD_OPTION: Final = re.compile(r"(?P<key>(?:ssl)?password=)(?P<secret>[^&]*)")
_NOT_IN_USER_PART: Final = re.compile(r"[/?#@\s]")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")


def redacted(url: str) -> str:
    """The url with its password as ``***``; a ``${VARIABLE}`` is no secret and stays."""

    def hide(match: re.Match[str], before: str, after: str) -> str:
        secret = match["secret"]
        return before + (secret if _VARIABLE.fullmatch(secret) else "***") + after

    url = _USER_PART.sub(lambda match: hide(match, f"{match[1]}:", "@"), url)
    return _PASSWORD_OPTION.sub(lambda match: hide(match, match["key"], ""), url)


def filled(
    url: str,
    environment: Mapping[str, str],
    unset: str = "source-variable-unset",
    bad: str = "sql-connection",
) -> str:
    """The url with each ``${VARIABLE}`` replaced, percent-encoded, by its value.

    Args:
        url: as somebody wrote it.
        environment: where variables are looked up.
        unset: code of the error if one is not there.
        bad: code of the error if the password cannot stand in a url.

    Raises:
        UsageError: with one of the two codes.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise UsageError(
                unset,
                f"the url {redacted(url)} names the environment variable {match[1]}, which is not set",
                remedy=f"export {match[1]} before starting Parley",
            )
        return quote(environment[match[1]], safe="")

    full = _VARIABLE.sub(value, url)
    password = _USER_PART.search(full)
    if password and _NOT_IN_USER_PART.search(password["secret"]):
        raise UsageError(
            bad,
            f"the password in the url {redacted(url)} holds a character that a url cannot",
            remedy="write it as ${VARIABLE} and export that variable, or percent-encode it",
        )
    return full


def with_patience(url: str, seconds: int) -> str:
    """The url with a limit on connecting, unless it sets its own; the driver's default is minutes."""
    if "connect_timeout=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}connect_timeout={seconds}"


def without_secrets(error: Exception, url: str) -> str:
    """The first line of a driver's error, with every secret of the url taken out."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = lines[0]
    for pattern in (_USER_PART, _PASSWORD_OPTION):
        for match in pattern.finditer(url):
            for secret in {match["secret"], unquote(match["secret"])} - {""}:
                text = text.replace(secret, "***")
    return text
