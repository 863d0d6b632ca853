"""API keys of a served model: HOME/serving/keys.json, and what a running server makes of it.

A key is ``pk_``, eight hexadecimal digits by which it is found, ``_``, and 256 random bits. Of those only a
salted SHA-256 is kept. A slow hash, as passwords need it, would cost every request milliseconds and protect
nothing: nobody guesses 256 random bits. The salt keeps one key in two files from showing as one.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from parley.core.errors import PolicyRefused, UsageError
from parley.core.files import write_atomically
from parley.serving.http.callers import Caller

RATE: Final = 100.0
"""Requests per second that a key may ask, unless it is said otherwise."""
_SECRET_BYTES: Final = 32
_SALT_BYTES: Final = 16
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SHOWN: Final = re.compile(r"pk_([0-9a-f]{8})_([\w-]{43})", re.ASCII)
_LOOK: Final = 1.0
"""Seconds after which a running server looks at the file again."""

Hex = Annotated[str, Meta(pattern="^([0-9a-f]{2})+$")]


class Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is kept of a key.

    Attributes:
        name: whose it is.
        identifier: by which it is found when it is shown.
        salt, digest: SHA-256 of the salt and the secret that follow one another; hexadecimal.
        made: when, seconds since 1970.
        until: the second from which it holds no longer; none: it holds until it is removed.
        rate: requests per second.
        burst: requests at once.
        models: that may be asked; empty: all.
        metrics: whether `/metrics` may be read with it.
    """

    name: str
    identifier: str
    salt: Hex
    digest: Hex
    made: int
    until: int | None
    rate: Annotated[float, Meta(gt=0)]
    burst: Annotated[int, Meta(ge=1)]
    models: tuple[str, ...]
    metrics: bool

    def is_over(self, now: float) -> bool:
        """Whether it holds no longer."""
        return self.until is not None and now >= self.until


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[Key, ...]


class KeyFile:
    """The keys of a home.

    Args:
        home: folder of the party.
    """

    def __init__(self, home: Path) -> None:
        self.path = home / "serving" / "keys.json"

    def read(self) -> tuple[Key, ...]:
        """All of them, by name; none if there is no file.

        Raises:
            UsageError: ``serving-keys-unreadable``.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=_Kept).keys
        except FileNotFoundError:
            return ()
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                "serving-keys-unreadable",
                f"the API keys in {self.path} cannot be read: {error}",
                remedy="bring it back from a backup, or delete it and make new keys with `parley key add`",
            ) from None

    def add(
        self,
        name: str,
        now: float,
        *,
        rate: float = RATE,
        burst: int | None = None,
        until: int | None = None,
        models: tuple[str, ...] = (),
        metrics: bool = False,
    ) -> tuple[Key, str]:
        """Make a key; says what is kept of it, and the key itself, which is kept nowhere.

        Args:
            name: whose it shall be.
            now: seconds since 1970.
            rate: requests per second, above 0.
            burst: requests at once; none: those of a second.
            until: the second from which it holds no longer.
            models: that may be asked; empty: all.
            metrics: whether `/metrics` may be read with it.

        Raises:
            UsageError: ``bad-key-name``; or ``key-exists``: there is one of that name.
        """
        if not _NAME.fullmatch(name):
            raise UsageError(
                "bad-key-name",
                f"{name!r} cannot be the name of a key",
                remedy="use a-z, 0-9, '.', '_' and '-', at most 63, a letter or digit first",
            )
        secret, salt = secrets.token_urlsafe(_SECRET_BYTES), secrets.token_bytes(_SALT_BYTES)
        with self._alone():
            kept = self.read()
            if any(each.name == name for each in kept):
                raise UsageError(
                    "key-exists",
                    f"there is a key named {name} already",
                    remedy=f"choose another name, or remove it first with `parley key remove {name}`",
                )
            taken = {each.identifier for each in kept}
            identifier = next(found for found in iter(lambda: secrets.token_hex(4), "") if found not in taken)
            key = Key(
                name=name,
                identifier=identifier,
                salt=salt.hex(),
                digest=_digest(salt, secret).hex(),
                made=int(now),
                until=until,
                rate=rate,
                burst=max(1, round(rate)) if burst is None else burst,
                models=models,
                metrics=metrics,
            )
            self._write([*kept, key])
        return key, f"pk_{identifier}_{secret}"

    def remove(self, name: str) -> Key:
        """Forget a key; a running server knows within about a second.

        Raises:
            UsageError: ``no-such-key``.
        """
        with self._alone():
            kept = self.read()
            gone = next((each for each in kept if each.name == name), None)
            if gone is None:
                raise UsageError(
                    "no-such-key", f"there is no key named {name!r}", remedy="see `parley key list`"
                )
            self._write([each for each in kept if each.name != name])
        return gone

    def _write(self, keys: list[Key]) -> None:
        ordered = tuple(sorted(keys, key=lambda each: each.name))
        write_atomically(self.path, msgspec.json.format(msgspec.json.encode(_Kept(ordered))) + b"\n")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Two commands at once do not undo one another."""
        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class KeyRing:
    """The keys as a running server knows them; the file is looked at once a second at most.

    Args:
        file: where they are kept.
        clock: seconds, monotonic.
        wall: seconds since 1970.
    """

    def __init__(self, file: KeyFile, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._file = file
        self._clock, self._wall = clock, wall
        self._looked = float("-inf")
        self._seen: tuple[int, int, int] | None = None
        self._trouble: UsageError | None = None
        self._keys: dict[str, tuple[Key, Caller, bytes, bytes]] = {}
        # what is not there is compared with this one, so that it takes as long
        self._nobody = secrets.token_bytes(_SALT_BYTES), secrets.token_bytes(_SECRET_BYTES)

    def caller(self, shown: str) -> Caller | None:
        """Whose key was shown; none if it is nobody's. Takes as long whatever secret was shown.

        Raises:
            PolicyRefused: ``key-expired``.
            UsageError: ``serving-keys-unreadable``: nobody is let in until they can be.
        """
        self._look()
        if self._trouble is not None:
            raise self._trouble
        parts = _SHOWN.fullmatch(shown)
        if parts is None:
            return None
        found = self._keys.get(parts[1])
        salt, digest = self._nobody if found is None else found[2:]
        if not hmac.compare_digest(_digest(salt, parts[2]), digest) or found is None:
            return None
        key, caller = found[:2]
        if key.is_over(self._wall()):
            raise PolicyRefused(
                "key-expired",
                f"the key of {key.name} holds no longer",
                remedy="ask whoever gave it to you for another one (`parley key add`)",
            )
        return caller

    def _look(self) -> None:
        now = self._clock()
        if now < self._looked + _LOOK:
            return
        self._looked = now
        try:
            status = self._file.path.stat()
            seen = (status.st_mtime_ns, status.st_ino, status.st_size)
        except OSError:
            seen = None
        if seen is not None and seen == self._seen:
            return
        try:
            keys = self._file.read()
        except UsageError as error:
            self._keys, self._trouble, self._seen = {}, error, None
            return
        self._keys = {
            each.identifier: (each, _caller(each), bytes.fromhex(each.salt), bytes.fromhex(each.digest))
            for each in keys
        }
        self._seen, self._trouble = seen, None


def _caller(key: Key) -> Caller:
    return Caller(f"key {key.name}", key.name, key.rate, key.burst, frozenset(key.models), key.metrics)


def _digest(salt: bytes, secret: str) -> bytes:
    return hashlib.sha256(salt + secret.encode()).digest()
