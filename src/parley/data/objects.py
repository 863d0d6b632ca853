"""Objects in an S3-compatible store: how to reach them, and with which credentials.

Polars speaks to the store itself. What it is told comes from the url, from the usual variables (AWS_*) and
from the shared credentials file; the secrets among it go nowhere else. Without any of these it asks the
machine's own role, as programs on cloud machines do. Nothing is copied to a disk.
"""

import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from parley.core.errors import UsageError
from parley.data.urls import PATIENCE

Storage: TypeAlias = Mapping[str, str | int]
"""Options of Polars' object store by name."""

S3: Final = "s3://"
"""How the url of an object begins."""

_OPTIONS: Final = ("endpoint", "region", "profile", "path-style", "allow-http")
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_SECRETS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_ROLES: Final = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_RETRIES: Final = 3
_SILENCE: Final = 120
"""Seconds that one request may take, with all it brings."""


@dataclass(frozen=True)
class Store:
    """Where an object is, and how to get at it.

    Attributes:
        place: the url without options.
        storage: the options of Polars' object store; secrets are among them.
    """

    place: str
    storage: Storage = field(repr=False)

    def without_secrets(self, text: str) -> str:
        """The text without any of the secrets."""
        for name in _SECRETS:
            if secret := str(self.storage.get(name, "")):
                text = text.replace(secret, "***")
        return text


def check_options(url: str) -> None:
    """Refuse a url that names no object, or options that there are not.

    Raises:
        UsageError: ``s3-option``.
    """
    parts = urlsplit(url)
    if not parts.hostname or parts.username or not parts.path.strip("/"):
        raise _bad(url, "does not name a bucket and a key")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in _OPTIONS:
            raise _bad(url, f"has an option {name!r}, which there is not")
        if name in {"path-style", "allow-http"} and value not in {"yes", "no"}:
            raise _bad(url, f"has an option {name} that is neither yes nor no")


def key_of(url: str) -> str:
    """The key, or the pattern of keys, that a url names."""
    return unquote(urlsplit(url).path.removeprefix("/"))


def store_of(url: str, environment: Mapping[str, str]) -> Store:
    """How to read an object.

    Raises:
        UsageError: ``s3-option``, ``s3-not-encrypted`` or ``s3-profile``.
    """
    check_options(url)
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    profile = options.get("profile") or environment.get("AWS_PROFILE") or "default"
    storage = _credentials(url, options.get("profile"), profile, environment)
    endpoint = (
        options.get("endpoint")
        or environment.get("AWS_ENDPOINT_URL_S3")
        or environment.get("AWS_ENDPOINT_URL")
    )
    region = options.get("region") or environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    if endpoint:
        _check_encrypted(url, endpoint, options)
        storage["aws_endpoint_url"] = endpoint
        storage["aws_allow_http"] = "true" if endpoint.startswith("http://") else "false"
    path_style = options.get("path-style", "yes" if endpoint else "no")
    storage["aws_virtual_hosted_style_request"] = "false" if path_style == "yes" else "true"
    storage["aws_region"] = region or "us-east-1"
    storage |= {"max_retries": _RETRIES, "connect_timeout": f"{PATIENCE}s", "timeout": f"{_SILENCE}s"}
    return Store(f"{S3}{parts.netloc}{parts.path}", storage)


def _credentials(
    url: str, named: str | None, profile: str, environment: Mapping[str, str]
) -> dict[str, str | int]:
    """Keys from the environment, else from a profile of the shared credentials file; none for a role.

    A profile that the url names goes before the environment.
    """
    keys: dict[str, str | int] = {
        name: environment[name.upper()] for name in _SECRETS if environment.get(name.upper())
    }
    if len(keys) >= 2 and named is None:  # noqa: PLR2004 (the name of a key, and the key)
        return keys
    home = environment.get("HOME", "~")
    path = Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials").expanduser()
    file = configparser.ConfigParser(interpolation=None)
    try:
        file.read(path, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        raise _no_profile(url, f"the credentials file {path} cannot be read") from None
    if file.has_section(profile):
        return {name: file[profile][name] for name in _SECRETS if file[profile].get(name)}
    if named is None and "AWS_PROFILE" not in environment:
        if (
            any(environment.get(name) for name in _ROLES)
            or environment.get("AWS_EC2_METADATA_DISABLED") != "true"
        ):
            return {}
        raise _no_profile(url, "there are no credentials in the environment, nor in a credentials file")
    raise _no_profile(url, f"the credentials file {path} has no profile {profile!r}")


def _check_encrypted(url: str, endpoint: str, options: Mapping[str, str]) -> None:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise _bad(url, "needs an endpoint such as https://store.example:9000")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK and options.get("allow-http") != "yes":
        raise UsageError(
            "s3-not-encrypted",
            f"the endpoint {parts.scheme}://{parts.netloc} would carry rows in the clear",
            remedy="use https, or add ?allow-http=yes to the url if the network between is trusted",
        )


def _no_profile(url: str, what: str) -> UsageError:
    return UsageError(
        "s3-profile",
        f"{urlsplit(url).scheme}://{urlsplit(url).netloc} cannot be reached: {what}",
        remedy="export AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile: AWS_PROFILE",
    )


def _bad(url: str, what: str) -> UsageError:
    shown = url if "@" not in url else f"{S3}…"
    return UsageError(
        "s3-option",
        f"the url {shown} {what}",
        remedy="write s3://bucket/key, then ? and, joined by &, endpoint=, region=, profile=,"
        " path-style=yes or allow-http=yes",
    )
