"""A party's identity: an Ed25519 key and the self-signed certificate that its peers pin.

There is no certificate authority. Each party hands its certificate to its peers once, they compare
the fingerprint by telephone or in the invitation, and from then on accept that very certificate.
"""

import functools
import hashlib
import re
import ssl
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parley.core.errors import UsageError
from parley.core.files import write_atomically

VALIDITY: Final = timedelta(days=730)
"""How long a new certificate lasts."""

CLOCK_SKEW: Final = timedelta(days=1)
"""A new certificate is valid from this long ago, so that a peer whose clock lags accepts it."""

CERTIFICATE_FILE: Final = "certificate.pem"
KEY_FILE: Final = "key.pem"

_PARTY: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
_GROUP: Final = 4


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
    return hashlib.sha256(_certificate(certificate_pem).public_bytes(serialization.Encoding.DER)).hexdigest()


def named_in(certificate_pem: str) -> str:
    """The party that a certificate names; empty if it names none.

    Raises:
        UsageError: the text holds no certificate.

    """
    return _common_name(_certificate(certificate_pem))


def valid_until(certificate_pem: str) -> datetime:
    """When a certificate ends.

    Raises:
        UsageError: the text holds no certificate.

    """
    return _certificate(certificate_pem).not_valid_after_utc


@functools.lru_cache(maxsize=1024)
def announced_by(party: str, certificate_der: bytes) -> str | None:
    """In PEM, the certificate that a party announced to others; None if nobody could pin it as that party's.

    What is announced was checked by nobody: it may be no certificate, or that of another party.
    """
    try:
        certificate = x509.load_der_x509_certificate(certificate_der)
        if _common_name(certificate) != party:
            return None
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate_der)
        return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
    except (ValueError, x509.DuplicateExtension, UnsupportedAlgorithm, ssl.SSLError):
        return None


def grouped(fingerprint: str) -> str:
    """A fingerprint as people compare it: upper case, in groups of four digits."""
    digits = fingerprint.upper()
    return " ".join(digits[start : start + _GROUP] for start in range(0, len(digits), _GROUP))


@dataclass(frozen=True)
class Identity:
    """What a party proves itself with.

    Attributes:
        party: the party's name, the certificate's common name.
        certificate_pem: the public half, given to every peer.
        private_key_pem: the secret half (PKCS #8, unencrypted); never shown.

    """

    party: str
    certificate_pem: str
    private_key_pem: str = field(repr=False)

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256, 64 hex digits."""
        return fingerprint_of(self.certificate_pem)

    def save(self, folder: Path) -> None:
        """Write both files into ``folder``; the key first and readable by its owner only.

        Raises:
            UsageError: an identity is there already, or the folder cannot be written.

        """
        if (folder / CERTIFICATE_FILE).exists():
            raise UsageError(
                "identity-exists",
                f"{folder} holds an identity already",
                remedy="use it, or choose another folder; a replaced key locks out every peer that pins it",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(folder / KEY_FILE, self.private_key_pem.encode(), mode=0o600)
            write_atomically(folder / CERTIFICATE_FILE, self.certificate_pem.encode(), mode=0o644)
        except OSError as error:
            raise UsageError(
                "identity-not-writable",
                f"the identity cannot be written to {folder}: {error.strerror}",
                remedy="choose a folder this user may write to",
            ) from error

    @classmethod
    def load(cls, folder: Path, *, now: datetime | None = None) -> Self:
        """Read what `save` wrote.

        Numbered checks: 1 both files are there, 2 the key is private, 3 both decode, 4 they belong
        together, 5 the name may name a party, 6 the certificate is valid at ``now``.

        Raises:
            UsageError: a check failed; the text says which.

        """
        # 1, 2
        key_pem = _read(folder / KEY_FILE)
        certificate_pem = _read(folder / CERTIFICATE_FILE)
        _check_private(folder / KEY_FILE)
        # 3
        certificate = _certificate(certificate_pem)
        key = _private_key(key_pem, folder / KEY_FILE)
        # 4
        if certificate.public_key() != key.public_key():
            raise UsageError(
                "identity-mismatched",
                f"the key and the certificate in {folder} do not belong together",
                remedy="restore both files from the same backup",
            )
        # 5
        party = check_party(_common_name(certificate))
        # 6
        _check_valid(certificate, folder, datetime.now(UTC) if now is None else now)
        return cls(party, certificate_pem, key_pem)


def create_identity(party: str, *, now: datetime | None = None, seed: bytes | None = None) -> Identity:
    """A new key and certificate for ``party``, valid for two years from ``now`` (default: the clock's).

    With 32 secret bytes as ``seed`` and the same ``now``, whoever knows them makes the same identity.

    Raises:
        UsageError: ``party`` cannot name a party.

    """
    check_party(party)
    moment = (datetime.now(UTC) if now is None else now).replace(microsecond=0)
    key = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
    serial = x509.random_serial_number() if seed is None else 1
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, party)])
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(moment - CLOCK_SKEW)
        .not_valid_after(moment + VALIDITY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(party)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_signing_only(), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(key, None)
    )
    return Identity(
        party,
        certificate.public_bytes(serialization.Encoding.PEM).decode("ascii"),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode("ascii"),
    )


def _signing_only() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@functools.lru_cache(maxsize=1024)
def _certificate(pem: str) -> x509.Certificate:
    """The certificate in a text; one that TLS cannot be told of is none, or it would stop us listening."""
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


def _private_key(pem: str, path: Path) -> Ed25519PrivateKey:
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
        remedy="restore it from a backup, or create a new identity and send its certificate to every peer",
    )


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def _check_valid(certificate: x509.Certificate, folder: Path, now: datetime) -> None:
    if now > certificate.not_valid_after_utc:
        raise UsageError(
            "identity-expired",
            f"the certificate in {folder} expired on {certificate.not_valid_after_utc:%Y-%m-%d}",
            remedy="create a new identity and send its certificate to every peer",
        )
    if now < certificate.not_valid_before_utc:
        raise UsageError(
            "identity-not-yet-valid",
            f"the certificate in {folder} is valid from {certificate.not_valid_before_utc:%Y-%m-%d}, "
            f"our clock says {now:%Y-%m-%d}",
            remedy="set this machine's clock",
        )


def _check_private(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UsageError(
            "key-exposed",
            f"{path} can be read by other users (mode {mode:04o}, expected 0600)",
            remedy=f"run `chmod 600 {path}`, and make a new identity if others use this machine",
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
