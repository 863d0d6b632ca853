"""The party's identity while it runs: read again when its files change, and renewed in time."""

import asyncio
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from parley.core.errors import ParleyError
from parley.core.files import write_atomically
from parley.net.authority import CA_KEY_FILE, Authority
from parley.net.certificates import (
    CA_FILE,
    LEAF_FILE,
    SINGLE_FILE,
    SINGLE_KEY_FILE,
    Identity,
    valid_until,
    writing,
)

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

RENEWAL: Final = 1 / 3
"""Of a certificate's life that is left when it is renewed."""

AUTHORITY_WARNING: Final = timedelta(days=180)
"""How long before its end an authority is to be replaced: the peers have to be asked."""

WARN_EVERY: Final = timedelta(days=1)

_NEXT: Final = "next"
_FILES: Final = (LEAF_FILE, CA_FILE, SINGLE_FILE, CA_KEY_FILE)


class Credentials:
    """Who the running party is.

    Args:
        folder: of the identity.
        clock: by which certificates end.
        log: takes a line for the operator of the party.

    Raises:
        UsageError: there is no identity that can be used; as `Identity.load`.
    """

    def __init__(self, folder: Path, clock: Callable[[], datetime], log: Callable[[str], None]) -> None:
        self._folder = folder
        self._files = [folder / name for name in _FILES]
        self._clock = clock
        self._log = log
        self._trouble = ""
        self._warned: datetime | None = None
        self._seen = self._stamps()
        self._identity = self._opened()

    def current(self) -> Identity:
        """The identity that counts now; reads its files again if they have changed."""
        stamps = self._stamps()
        if stamps != self._seen:
            try:
                self._identity = Identity.load(self._folder, now=self._clock())
            except ParleyError as error:  # half written, or a mistake: what we have still holds
                self._say_once(f"the identity in {self._folder} cannot be used: {error.what}")
            else:
                self._trouble = ""
            self._seen = stamps
        return self._identity

    async def keep(self, changed: Callable[[], None]) -> None:
        """Look after the files until cancelled; calls ``changed`` when the identity is another one."""
        known = self._identity
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if (current := self.look()) != known:
                known = current
                self._log(f"TLS uses a new certificate from now on, valid until {known.ends:%Y-%m-%d}")
                changed()

    def look(self) -> Identity:
        """Renew the certificate of TLS if it is time, warn where that cannot be done; what counts now."""
        identity, now = self.current(), self._clock()
        if is_due(identity, now):
            if self._renewed(now):
                identity = self.current()
            else:
                self._warn(
                    now, f"our certificate ends on {identity.ends:%Y-%m-%d}: {next_step(self._folder)}"
                )
        if (
            identity.has_authority
            and (ends := valid_until(identity.certificate_pem)) - now < AUTHORITY_WARNING
        ):
            self._warn(now, f"our authority ends on {ends:%Y-%m-%d}: run `parley identity replace` in time")
        return identity

    def _opened(self) -> Identity:
        """As the party starts: a replacement that broke off goes on, an ended certificate is renewed."""
        try:
            return Identity.load(self._folder, now=self._clock())
        except ParleyError as error:
            if error.code == "identity-mismatched" and next_identity(self._folder) is not None:
                take_over(self._folder)
            elif error.code != "identity-expired" or not self._renewed(self._clock()):
                raise
            return Identity.load(self._folder, now=self._clock())

    def _renewed(self, now: datetime) -> bool:
        try:
            rotate_leaf(self._folder, now=now)
        except ParleyError as error:
            if error.code not in ("authority-key-missing", "no-authority"):
                self._say_once(f"our certificate cannot be renewed: {error.what}")
            return False
        return True

    def _warn(self, now: datetime, text: str) -> None:
        if self._warned is None or now - self._warned >= WARN_EVERY:
            self._warned = now
            self._log(text)

    def _say_once(self, text: str) -> None:
        if text != self._trouble:
            self._trouble = text
            self._log(text)

    def _stamps(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(map(_stamp, self._files))


def is_due(identity: Identity, now: datetime) -> bool:
    """Whether a certificate of TLS is to be renewed."""
    return identity.ends - now <= (identity.ends - identity.begins) * RENEWAL


def next_step(folder: Path) -> str:
    """What to do about a certificate of TLS that ends soon."""
    if (folder / SINGLE_FILE).exists():
        return "run `parley identity replace` in time, which gives the party an authority of its own"
    if not (folder / CA_KEY_FILE).exists():
        return f"bring {CA_KEY_FILE} back and run `parley identity rotate`, or name it there with --ca-key"
    return "run `parley identity rotate`"


def rotate_leaf(folder: Path, *, key: Path | None = None, now: datetime | None = None) -> Identity:
    """Put a new key and certificate of TLS in place, signed by the authority.

    Args:
        folder: of the identity.
        key: of the authority, if not in the folder.
        now: by default the clock's.

    Raises:
        UsageError: as `Authority.load`, `Authority.issue`; or the folder cannot be written.
    """
    identity = Authority.load(folder, key).issue(now=now)
    with writing(folder):
        identity.save_leaf(folder)
    return identity


# ── replacing all of it ───────────────────────────────────────────────────────────────────────────────


def draw_next(folder: Path, party: str) -> Identity:
    """The identity that is to replace ours: the one under way, or a new one.

    Raises:
        UsageError: the folder cannot be written.
    """
    following = next_identity(folder)
    if following is None:
        shutil.rmtree(folder / _NEXT, ignore_errors=True)
        authority = Authority.create(party)
        authority.save(folder / _NEXT)
        following = authority.issue()
        following.save(folder / _NEXT)  # its authority's certificate comes last, and makes it whole
    return following


def next_identity(folder: Path) -> Identity | None:
    """The identity that is to replace ours, if there is one that was written to its end."""
    if not (folder / _NEXT / CA_FILE).exists():
        return None
    try:
        return Identity.load(folder / _NEXT)
    except ParleyError:
        return None


def take_over(folder: Path) -> None:
    """Put the next identity in place of ours; may be repeated until `forget_next`.

    Raises:
        UsageError: the folder cannot be written.
    """
    with writing(folder):
        for name, mode in ((CA_KEY_FILE, 0o600), (LEAF_FILE, 0o600), (CA_FILE, 0o644)):
            if (folder / _NEXT / name).exists():
                write_atomically(folder / name, (folder / _NEXT / name).read_bytes(), mode=mode)
        for name in (SINGLE_FILE, SINGLE_KEY_FILE):
            (folder / name).unlink(missing_ok=True)


def forget_next(folder: Path) -> None:
    """The replacement is over: whoever had to hear of it can."""
    shutil.rmtree(folder / _NEXT, ignore_errors=True)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
