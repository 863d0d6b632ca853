"""A party's keys on the ledger: one signs its transactions, one its checkpoints, one replaces the others.

They are separate from the certificate of its port. The recovery key belongs in a safe: `parley` never
needs it but to replace the others.
"""

import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.crypto.signatures import SigningKey

KINDS: Final = ("signing", "cosigning", "recovery")
NODE: Final = "node"
"""The key that proves our CometBFT node to those of the others."""
NEXT: Final = "cosigning-next"
"""The key that is to take the place of the cosigning key, from before the ledger is told until it says so."""
OLD: Final = "cosigning.key.old"
"""File of the key that the cosigning key has replaced; a validator votes with it for one block more."""
_SETTLING: Final = threading.Lock()
_SEED: Final = re.compile("[0-9a-fA-F]{64}")


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


def next_cosigning(folder: Path) -> SigningKey | None:
    """The key that is to take the place of the cosigning key, if there is one."""
    path = _file(folder, NEXT)
    return _read(path) if path.exists() else None


def draw_next_cosigning(folder: Path) -> SigningKey:
    """The same, made if there is none; on disk before this returns."""
    return SigningKey.from_seed(bytearray(seed_of(folder, NEXT)))


def settle_cosigning(folder: Path, current: bytes) -> bool:
    """Put the next cosigning key in place if its public half is ``current``, and keep the old one aside.

    There is a cosigning key at every moment, and the old one beside it before it is replaced.
    """
    with _SETTLING:
        following = next_cosigning(folder)
        if following is None or following.public != current:
            return False
        write_atomically(folder / OLD, _seed(_file(folder, "cosigning")).hex().encode())
        _file(folder, NEXT).replace(_file(folder, "cosigning"))
        return True


def cosigning_seed(folder: Path, public: bytes) -> bytes:
    """The 32 secret bytes of the cosigning key; of the one before it, if ``public`` is that one's."""
    seed, old = seed_of(folder, "cosigning"), folder / OLD
    if SigningKey.from_seed(bytearray(seed)).public == public or not old.exists():
        return seed
    earlier = _seed(old)
    return earlier if SigningKey.from_seed(bytearray(earlier)).public == public else seed


def seed_of(folder: Path, kind: str) -> bytes:
    """The 32 secret bytes of a key, for a program of ours that signs with it too; made if it is not there."""
    path = _file(folder, kind)
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32).hex().encode())
    return _seed(path)


def _file(folder: Path, kind: str) -> Path:
    return folder / f"{kind}.key"


def _read(path: Path) -> SigningKey:
    return SigningKey.from_seed(bytearray(_seed(path)))


def _seed(path: Path) -> bytes:
    try:
        content = path.read_text()
    except (OSError, UnicodeDecodeError):
        content = ""
    if _SEED.fullmatch(content) is None:
        raise UsageError(
            "ledger-key-missing",
            f"{path} is missing or damaged",
            remedy="restore it from a copy; if it is lost, replace it by the recovery key",
        )
    return bytes.fromhex(content)
