"""A party's identity: the certificate that its peers pin, and the key and certificate that TLS uses.

What is pinned is the party's own authority (`authority`), which signs the certificate that TLS uses. Each
party hands the authority's certificate to its peers once, they compare the fingerprint by telephone or in the
invitation, and from then on accept what that authority has signed in the party's name, and no other.

An older home has one certificate that signs itself and is pinned as it is. It is used until it is replaced.
"""

import functools
import hashlib
import re
import ssl
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.net.vouching import Unvouched, check_authority, check_vouched, is_authority, name_in

CA_FILE: Final = "ca.pem"
"""The authority's certificate: what peers pin."""

LEAF_FILE: Final = "leaf.pem"
"""Key and certificate that TLS uses, in one file, so that they are replaced in one step."""

SINGLE_FILE: Final = "certificate.pem"
SINGLE_KEY_FILE: Final = "key.pem"
"""The certificate of a home without an authority, and its key."""

_PARTY: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_GROUP: Final = 4
_CERTIFICATE_BEGINS: Final = "-----BEGIN CERTIFICATE-----"


def check_party(name: str) -> str:
    """``name`` if it may name a party.

    Raises:
        UsageError: it is not 1 to 32 of ``a-z 0-9 -`` beginning with a letter.

    """
    if not _PARTY.fullmatch(name):
        raise UsageError(
            "bad-party-name",
            f"{name[:64]!r} cannot name a party: expected 1 to 32 characters a-z, 0-9 or '-', a letter first",
            remedy="choose a short lower-case name such as 'bank' or 'north-retail'",
        )
    return name


def fingerprint_of(certificate_pem: str) -> str:
    """The SHA-256 of the certificate's DER encoding, 64 hex digits.

    Raises:
        UsageError: the text holds no certificate.

    """
    return hashlib.sha256(
        read_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)
    ).hexdigest()


def named_in(certificate_pem: str) -> str:
    """The party that a certificate names; empty if it names none.

    Raises:
        UsageError: the text holds no certificate.

    """
    return name_in(read_certificate(certificate_pem))


@functools.lru_cache(maxsize=64)
def valid_until(certificate_pem: str) -> datetime:
    """When a certificate ends.

    Raises:
        UsageError: the text holds no certificate.

    """
    return read_certificate(certificate_pem).not_valid_after_utc


def check_pinnable(certificate_pem: str) -> None:
    """Whether a certificate can be pinned: an authority must be one that may sign, or nothing would ever fit.

    Raises:
        UsageError: ``certificate-unreadable``, ``certificate-invalid``.
    """
    certificate = read_certificate(certificate_pem)
    try:
        if is_authority(certificate):
            check_authority(certificate)
    except Unvouched as error:
        raise UsageError(
            error.code,
            f"the certificate of {name_in(certificate)[:64]!r} cannot be pinned: {error.why}",
            remedy="ask for the file that `parley identity` names there",
        ) from None


@functools.lru_cache(maxsize=1024)
def announced_by(party: str, certificate_der: bytes) -> str | None:
    """In PEM, the certificate that a party announced to others; None if nobody could pin it as that party's.

    What is announced was checked by nobody: it may be no certificate, or that of another party.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        if name_in(certificate) != party:
            return None
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate_der)
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
        check_pinnable(pem)
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm, ssl.SSLError, UsageError):
        return None
    return pem


def grouped(fingerprint: str) -> str:
    """A fingerprint as people compare it: upper case, in groups of four digits."""
    digits = fingerprint.upper()
    return " ".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


@dataclass(frozen=True)
class Identity:
    """What a party proves itself with.

    Attributes:
        party: the party's name, in both certificates.
        certificate_pem: what peers pin, given to every one of them: the authority's certificate, or, without
            an authority, the party's only one.
        leaf_pem: the certificate that TLS uses; without an authority the same.
        private_key_pem: the secret half of that (PKCS #8, unencrypted); never shown.

    """

    party: str
    certificate_pem: str
    leaf_pem: str
    private_key_pem: str = field(repr=False)

    @property
    def has_authority(self) -> bool:
        """Whether peers pin an authority, so that the certificate of TLS may change."""
        return self.leaf_pem != self.certificate_pem

    @functools.cached_property
    def fingerprint(self) -> str:
        """The SHA-256 of what peers pin, 64 hex digits."""
        return fingerprint_of(self.certificate_pem)

    @functools.cached_property
    def leaf_fingerprint(self) -> str:
        """The SHA-256 of the certificate that TLS uses, 64 hex digits."""
        return fingerprint_of(self.leaf_pem)

    @functools.cached_property
    def begins(self) -> datetime:
        """From when on the certificate that TLS uses is valid."""
        return read_certificate(self.leaf_pem).not_valid_before_utc

    @functools.cached_property
    def ends(self) -> datetime:
        """When the certificate that TLS uses ends."""
        return valid_until(self.leaf_pem)

    @property
    def chain_pem(self) -> str:
        """What is presented: the certificate of TLS, then what peers pin, for who has its fingerprint."""
        return self.leaf_pem + self.certificate_pem if self.has_authority else self.leaf_pem

    def save(self, folder: Path) -> None:
        """Write the files into ``folder``; the key first and readable by its owner only.

        Raises:
            UsageError: an identity is there already, or the folder cannot be written.

        """
        if has_identity(folder):
            raise UsageError(
                "identity-exists",
                f"{folder} holds an identity already",
                remedy="use it, or choose another folder; a replaced key locks out every peer that pins it",
            )
        with writing(folder):
            if self.has_authority:
                self.save_leaf(folder)
                write_atomically(folder / CA_FILE, self.certificate_pem.encode(), mode=0o644)
            else:
                write_atomically(folder / SINGLE_KEY_FILE, self.private_key_pem.encode(), mode=0o600)
                write_atomically(folder / SINGLE_FILE, self.certificate_pem.encode(), mode=0o644)

    def save_leaf(self, folder: Path) -> None:
        """Put key and certificate of TLS in place of those before, in one step."""
        write_atomically(folder / LEAF_FILE, (self.private_key_pem + self.leaf_pem).encode(), mode=0o600)

    @classmethod
    def load(cls, folder: Path, *, now: datetime | None = None) -> Self:
        """Read what `save` wrote.

        Numbered checks: 1 the files are there, 2 the key is private, 3 all decode, 4 the key belongs to the
        certificate, 5 the name may name a party, 6 the certificate of TLS is valid at ``now``, 7 our own
        authority vouches for it, by the rules by which peers judge it.

        Raises:
            UsageError: a check failed; the text says which.

        """
        moment = datetime.now(UTC) if now is None else now
        # 1, 2
        if (folder / CA_FILE).exists() or not (folder / SINGLE_FILE).exists():
            pinned_pem, source = _read(folder / CA_FILE), folder / LEAF_FILE
            key_pem, leaf_pem = _parted(_read(source))
        else:
            pinned_pem = leaf_pem = _read(folder / SINGLE_FILE)
            source = folder / SINGLE_KEY_FILE
            key_pem = _read(source)
        check_private(source)
        # 3
        pinned, leaf = read_certificate(pinned_pem), read_certificate(leaf_pem)
        key = read_private_key(key_pem, source)
        # 4
        if leaf.public_key() != key.public_key():
            raise _mismatched(folder, "the key and the certificate")
        # 5
        party = check_party(name_in(leaf))
        # 6
        _check_valid(leaf, folder, moment)
        # 7
        try:
            check_vouched(leaf, pinned, party, moment)
        except Unvouched as error:
            raise _mismatched(folder, f"{CA_FILE} and {LEAF_FILE}", f": {error.why}") from None
        return cls(party, pinned_pem, leaf_pem, key_pem)


IdentitySource: TypeAlias = Identity | Callable[[], Identity]
"""An identity, or what tells the one that counts now."""


def present_identity(source: IdentitySource) -> Identity:
    """The identity that counts now."""
    return source if isinstance(source, Identity) else source()


def has_identity(folder: Path) -> bool:
    """Whether a folder holds an identity, of whichever kind."""
    return any((folder / name).exists() for name in (CA_FILE, SINGLE_FILE))


@functools.lru_cache(maxsize=1024)
def read_certificate(pem: str) -> x509.Certificate:
    """The certificate in a text.

    Raises:
        UsageError: ``certificate-unreadable``.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode("utf-8"))
        _ = (
            certificate.subject,
            certificate.not_valid_after_utc,
        )  # read only now, and they may not be readable
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ValueError, TypeError, ssl.SSLError, UnsupportedAlgorithm) as error:
        raise UsageError(
            "certificate-unreadable",
            f"the text holds no certificate in PEM form: {str(error)[:120]}",
            remedy="ask for the certificate file again; it begins with '-----BEGIN CERTIFICATE-----'",
        ) from error
    else:
        return certificate


def read_private_key(pem: str, path: Path) -> Ed25519PrivateKey:
    """The key in a text that came from ``path``.

    Raises:
        UsageError: ``key-unreadable``.
    """
    try:
        key = serialization.load_pem_private_key(pem.encode("utf-8"), password=None)
    except (ValueError, TypeError) as error:
        raise _bad_key(path) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _bad_key(path)
    return key


def _bad_key(path: Path) -> UsageError:
    return UsageError(
        "key-unreadable",
        f"{path} holds no unencrypted Ed25519 private key in PEM form",
        remedy="restore it from a backup, or run `parley identity replace`",
    )


def _check_valid(certificate: x509.Certificate, folder: Path, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise UsageError(
            "identity-expired",
            f"the certificate in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            remedy="run `parley identity rotate`, or `parley identity replace` where there is no authority",
        )
    if now < certificate.not_valid_before_utc:
        raise UsageError(
            "identity-not-yet-valid",
            f"the certificate in {folder} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}, "
            f"our clock says {now:%Y-%m-%d}",
            remedy="set this machine's clock",
        )


def check_private(path: Path) -> None:
    """Whether only its user can read a file.

    Raises:
        UsageError: ``key-exposed``.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UsageError(
            "key-exposed",
            f"{path} can be read by other users (mode {mode:04o}, expected 0600)",
            remedy=f"run `chmod 600 {path}`; if others use this machine, run `parley identity replace` too",
        )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise UsageError(
            "identity-missing",
            f"{path} cannot be read: {error.strerror}",
            remedy="create an identity first, or name the folder that holds it",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(
            "identity-corrupt",
            f"{path} is not a PEM file",
            remedy="restore it from a backup",
        ) from error


def _parted(text: str) -> tuple[str, str]:
    """Key and certificate of a leaf file."""
    key, begin, certificate = text.partition(_CERTIFICATE_BEGINS)
    return key, begin + certificate


def _mismatched(folder: Path, what: str, why: str = "") -> UsageError:
    return UsageError(
        "identity-mismatched",
        f"{what} in {folder} do not belong together{why}",
        remedy="restore all files there from the same backup",
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Makes the folder of an identity, and says in our own words that it cannot be written.

    Raises:
        UsageError: ``identity-not-writable``.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        yield
    except OSError as error:
        raise UsageError(
            "identity-not-writable",
            f"the identity cannot be written to {folder}: {error.strerror}",
            remedy="choose a folder this user may write to",
        ) from error
