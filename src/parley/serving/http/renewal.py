"""The certificate that a model is served with: taken up anew when its files change, while the server runs."""

import asyncio
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Final

from cryptography import x509

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at the files."""

_Stamp = tuple[int, int, int] | None


class Renewal:
    """Keeps the certificate of a server that of its files.

    Connections that are open go on under the one they began with. Files that are of no use change nothing:
    a certificate and its key are replaced one after the other, and between the two do not fit.

    Args:
        context: of the server, with which it began.
        certificate: PEM file, with the chain.
        key: PEM file of the private key; none: it is in the same file.
        log: takes a line for whoever runs the server.
    """

    def __init__(
        self, context: ssl.SSLContext, certificate: Path, key: Path | None, log: Callable[[str], None]
    ) -> None:
        self._context = context
        self._files = (certificate,) if key is None or key == certificate else (certificate, key)
        self._log = log
        self._seen: tuple[_Stamp, ...] | None = None
        self._held = b""
        self._trouble = ""

    async def keep(self) -> None:
        """Look after the files until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Take the files up if they have changed."""
        stamps = self._stamps()
        if stamps == self._seen:
            return
        self._seen = stamps
        found = self._read()
        if found is None or found == self._held:
            self._say_once(
                "" if found else "the files of the certificate cannot be read; the old one is kept"
            )
            return
        try:
            ends = x509.load_pem_x509_certificate(found).not_valid_after_utc
            _load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), found)  # else half of it might be in use
            _load(self._context, found)
        except (OSError, ValueError) as error:
            self._say_once(
                f"the certificate in {self._files[0]} cannot be used, the old one is kept: {error}"
            )
        else:
            self._log(f"TLS uses {'a new' if self._held else 'the'} certificate, valid until {ends:%Y-%m-%d}")
            self._held, self._trouble = found, ""

    def _read(self) -> bytes | None:
        """Certificate, chain and key; nothing while they cannot be read."""
        try:
            return b"\n".join(each.read_bytes() for each in self._files)
        except OSError:
            return None

    def _stamps(self) -> tuple[_Stamp, ...]:
        return tuple(map(_stamp, self._files))

    def _say_once(self, text: str) -> None:
        if text and text != self._trouble:
            self._log(text)
        self._trouble = text


def _load(context: ssl.SSLContext, pair: bytes) -> None:
    """The ssl module reads from files only; what was read is what counts, whatever is written meanwhile.

    Raises:
        OSError: it is of no use, or the key has a password.
    """
    handle = os.memfd_create("certificate")
    with os.fdopen(handle, "wb") as file:
        file.write(pair)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}", password="")


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
