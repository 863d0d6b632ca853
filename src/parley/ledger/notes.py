"""Signed notes in the format of C2SP (c2sp.org/signed-note), by Ed25519 and by cosignature/v1 keys.

A signed note is a text, an empty line, and a line for each signature:

    — <key name> <base64 of (4 bytes of key hash ‖ signature)>

Two kinds of key are known. ``0x01``: the signature is Ed25519 over the text. ``0x04``: a cosignature with a
time (c2sp.org/tlog-cosignature): eight bytes of POSIX seconds, then Ed25519 over the lines ``cosignature/v1``
and ``time <seconds>`` followed by the text. Signatures of unknown keys are ignored, as the format demands;
one bad signature of a known key condemns the whole note.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple, Self

from parley.crypto import signatures
from parley.crypto.signatures import SigningKey

MAX_NOTE_BYTES: Final = 64 * 1024
MAX_SIGNATURES: Final = 100
MAX_TIME: Final = 2**63 - 1

_HASH_BYTES: Final = 4
_TIME_BYTES: Final = 8
_DASH: Final = "— "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NO_NAME: Final = re.compile(r"[\s+\x00-\x1f]")
_COSIGNATURE: Final = "cosignature/v1\n"


class NoteError(ValueError):
    """A note, a key or a checkpoint that breaks its format, or a signature that does not hold."""


class Kind(IntEnum):
    """The signature types of signed-note that are understood here."""

    ED25519 = 0x01
    COSIGNATURE_V1 = 0x04


class NoteSignature(NamedTuple):
    """One signature line, not verified: who is said to have signed, and the bytes."""

    name: str
    key_hash: bytes
    signature: bytes


class NoteKey(NamedTuple):
    """The public half of a key that signs notes.

    Attributes:
        name: of the signer; no space, no plus.
        kind: how it signs.
        public: 32 bytes, Ed25519.

    """

    name: str
    kind: Kind
    public: bytes

    @property
    def key_hash(self) -> bytes:
        """The first four bytes of SHA-256(name ‖ newline ‖ kind ‖ public): a hint, not a commitment."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._material()).digest()[:_HASH_BYTES]

    @property
    def text(self) -> str:
        """The key as configuration files write it: name, plus, key hash, plus, base64 of kind and key."""
        return f"{self.name}+{self.key_hash.hex()}+{base64.b64encode(self._material()).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The key that `text` describes; `NoteError` for another kind or a wrong key hash."""
        name, _, rest = text.partition("+")
        key_hash, _, material = rest.partition("+")
        decoded = decoded_base64(material)
        try:
            kind = Kind(decoded[0]) if decoded else None
        except ValueError:
            kind = None
        if kind is None:
            raise NoteError(f"key of {name!r} is of a kind that is not understood; known are 0x01 and 0x04")
        key = cls(name, kind, decoded[1:])
        if (
            not is_key_name(name)
            or not signatures.is_public_key(key.public)
            or key.key_hash.hex() != key_hash
        ):
            raise NoteError(f"key of {name!r} has a bad name, is no Ed25519 key, or does not match its hash")
        return key

    def statement(self, text: str, signature: bytes) -> "Statement":
        """What ``signature`` says over the note's text; `NoteError` if it is not good."""
        time, message = None, text.encode()
        if self.kind is Kind.COSIGNATURE_V1:
            time, signature = int.from_bytes(signature[:_TIME_BYTES], "big"), signature[_TIME_BYTES:]
            message = _cosigned(time, text)
        in_range = time is None or time <= MAX_TIME
        if not in_range or not signatures.verify_note(self.public, message, signature):
            raise NoteError(f"signature of {self.name!r} does not hold")
        return Statement(self, time)

    def _material(self) -> bytes:
        return bytes([self.kind]) + self.public


class Statement(NamedTuple):
    """A verified signature: by which key, and for a cosignature at what POSIX time (else None)."""

    key: NoteKey
    time: int | None


class SignedNote(NamedTuple):
    """A text and its signature lines, well-formed but not verified."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encoded(self) -> bytes:
        """The note as it travels: UTF-8."""
        lines = (
            f"{_DASH}{line.name} {base64.b64encode(line.key_hash + line.signature).decode()}\n"
            for line in self.signatures
        )
        return (self.text + "\n" + "".join(lines)).encode()

    def with_signatures(self, lines: Iterable[NoteSignature]) -> "SignedNote":
        """The note with more lines; a line of the same name and key hash as an earlier one replaces it."""
        merged = {(line.name, line.key_hash): line for line in (*self.signatures, *lines)}
        return SignedNote(self.text, tuple(merged.values()))

    def verified(self, keys: Iterable[NoteKey]) -> tuple[Statement, ...]:
        """What those of ``keys`` say that signed, once each; `NoteError` if one signed badly, or none did."""
        known = {(key.name, key.key_hash): key for key in keys}
        statements: dict[tuple[str, bytes], Statement] = {}
        for line in self.signatures:
            who = (line.name, line.key_hash)
            if who in known:
                statements.setdefault(who, known[who].statement(self.text, line.signature))
        if not statements:
            raise NoteError("no known key has signed the note")
        return tuple(statements.values())


def sign(name: str, text: str, key: SigningKey) -> NoteSignature:
    """A plain signature (0x01) of a note's text."""
    if text.startswith(_COSIGNATURE):
        raise NoteError("a text that reads like the message of a cosignature is not signed plainly")
    return _line(name, Kind.ED25519, key, key.sign_note(text.encode()))


def cosign(name: str, text: str, key: SigningKey, time: int) -> NoteSignature:
    """A cosignature (0x04) of a note's text, made at POSIX ``time``."""
    if not 0 <= time <= MAX_TIME:
        raise NoteError(f"time {time} of a cosignature; it must be POSIX seconds from 0 below 2^63")
    signature = time.to_bytes(_TIME_BYTES, "big") + key.sign_note(_cosigned(time, text))
    return _line(name, Kind.COSIGNATURE_V1, key, signature)


def parse_note(data: bytes, limit: int = MAX_NOTE_BYTES) -> SignedNote:
    """The text and signature lines of a signed note, nothing verified; `NoteError` if it is malformed."""
    if len(data) > limit:
        raise NoteError(f"note of {len(data)} bytes; the limit is {limit}")
    try:
        letters = data.decode()
    except UnicodeDecodeError as error:
        raise NoteError(f"note is not UTF-8 at byte {error.start}") from None
    if _CONTROL.search(letters):
        raise NoteError("note has a control character other than newline")
    head, separator, tail = letters.rpartition("\n\n")
    if not separator or not tail.endswith("\n"):
        raise NoteError("note must be a text, an empty line, and signature lines")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError(f"note has {len(lines)} signatures; the limit is {MAX_SIGNATURES}")
    return SignedNote(head + "\n", tuple(_parsed_line(line) for line in lines))


def is_key_name(name: str) -> bool:
    """Whether ``name`` may name a key: not empty, no Unicode space, no plus, no control character."""
    return bool(name) and not _NO_NAME.search(name)


def decoded_base64(text: str) -> bytes:
    """The bytes of standard base64 (RFC 4648, section 4) in its one canonical form; `NoteError` otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if base64.b64encode(data).decode() != text:
        raise NoteError("expected canonical base64")
    return data


def _parsed_line(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not is_key_name(name):
        raise NoteError("signature line must be an em dash, a space, a key name, a space and base64")
    decoded = decoded_base64(encoded)
    if len(decoded) <= _HASH_BYTES:
        raise NoteError(f"signature of {name!r} is too short")
    return NoteSignature(name, decoded[:_HASH_BYTES], decoded[_HASH_BYTES:])


def _line(name: str, kind: Kind, key: SigningKey, signature: bytes) -> NoteSignature:
    if not is_key_name(name):
        raise NoteError(f"key name {name!r} is empty or has a space or a plus")
    return NoteSignature(name, NoteKey(name, kind, key.public).key_hash, signature)


def _cosigned(time: int, text: str) -> bytes:
    """The message of a cosignature (tlog-cosignature, "Ed25519 signed message")."""
    return f"{_COSIGNATURE}time {time}\n{text}".encode()
