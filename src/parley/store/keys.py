"""A party's keys on the ledger: one signs its transactions, one its checkpoints, one replaces the others.

They are separate from the certificate of its port. The recovery key belongs in a safe: `parley` never
needs it but to replace the others.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.crypto.signatures import SigningKey

KINDS: Final = ("signing", "cosigning", "recovery")


@dataclass(frozen=True)
class LedgerKeys:
    """The three keys of a member."""

    signing: SigningKey
    cosigning: SigningKey
    recovery: SigningKey

    @classmethod
    def create(cls, folder: Path) -> Self:
        """Make the keys if there are none, and load them."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for kind in KINDS:
            if not _file(folder, kind).exists():
                write_atomically(_file(folder, kind), secrets.token_bytes(32).hex().encode())
        return cls.load(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The keys in a folder.

        Raises:
            UsageError: one is missing or damaged.
        """
        return cls(*(_read(_file(folder, kind)) for kind in KINDS))

    def public(self) -> dict[str, str]:
        """The public halves in hexadecimal, by kind."""
        return {kind: getattr(self, kind).public.hex() for kind in KINDS}


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.key"


def _read(path: Path) -> SigningKey:
    try:
        return SigningKey.from_seed(bytearray.fromhex(path.read_text()))
    except (OSError, ValueError):
        raise UsageError(
            "ledger-key-missing",
            f"{path} is missing or damaged",
            remedy="restore it from a copy; if it is lost, replace it by the recovery key",
        ) from None
