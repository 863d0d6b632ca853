"""A party's own authority: the certificate that its peers pin, and those for TLS that it signs.

Its key, ``ca.key``, is needed only to make the next certificate of TLS; it may be kept elsewhere meanwhile.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from parley.core.errors import UsageError
from parley.core.files import write_atomically
from parley.net.certificates import (
    CA_FILE,
    SINGLE_FILE,
    Identity,
    check_party,
    check_private,
    read_certificate,
    read_private_key,
    writing,
)
from parley.net.vouching import name_in

CA_KEY_FILE: Final = "ca.key"

AUTHORITY_VALIDITY: Final = timedelta(days=3650)
"""How long a new authority lasts."""

VALIDITY: Final = timedelta(days=90)
"""How long a new certificate of TLS lasts; never longer than its authority."""

SINGLE_VALIDITY: Final = timedelta(days=730)
"""How long a certificate lasts that signs itself."""

CLOCK_SKEW: Final = timedelta(days=1)
"""A new certificate is valid from this long ago, so that a peer whose clock lags accepts it."""

_UNIT: Final = "authority"


@dataclass(frozen=True)
class Authority:
    """What signs a party's certificates of TLS.

    Attributes:
        party: in whose name alone.
        certificate_pem: what peers pin.
        private_key_pem: its key; never shown.
    """

    party: str
    certificate_pem: str
    private_key_pem: str = field(repr=False)

    @classmethod
    def create(cls, party: str, *, now: datetime | None = None) -> Self:
        """A new authority, valid for ten years from ``now`` (default: the clock's).

        Raises:
            UsageError: ``party`` cannot name a party.
        """
        moment = _moment(now)
        key = Ed25519PrivateKey.generate()
        subject = _name(check_party(party), _UNIT)
        own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        names = x509.NameConstraints(permitted_subtrees=[x509.DNSName(party)], excluded_subtrees=None)
        certificate = (
            _begun(subject, subject, key.public_key(), moment, moment + AUTHORITY_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(names, critical=True)
            .add_extension(own, critical=False)
            .sign(key, None)
        )
        return cls(party, _pem(certificate), _key_pem(key))

    @classmethod
    def load(cls, folder: Path, key: Path | None = None) -> Self:
        """Read an authority with its key.

        Args:
            folder: of the identity.
            key: where the key lies, if not in the folder.

        Raises:
            UsageError: ``no-authority``, ``authority-key-missing``, ``authority-key-wrong``, ``key-exposed``,
                ``key-unreadable``.
        """
        path = folder / CA_KEY_FILE if key is None else key
        if not (folder / CA_FILE).exists() and (folder / SINGLE_FILE).exists():
            raise UsageError(
                "no-authority",
                f"{folder} holds one certificate that signs itself, and no authority that could sign another",
                remedy="run `parley identity replace`: it makes an authority, which your peers pin instead",
            )
        try:
            key_pem, certificate_pem = path.read_text("ascii"), (folder / CA_FILE).read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                "authority-key-missing",
                f"the authority's key cannot be read: {error}",
                remedy=f"bring {CA_KEY_FILE} back from where it is kept, or name it with --ca-key",
            ) from error
        check_private(path)
        certificate = read_certificate(certificate_pem)
        if read_private_key(key_pem, path).public_key() != certificate.public_key():
            raise UsageError(
                "authority-key-wrong",
                f"{path} is not the key of the authority in {folder}",
                remedy=f"name the {CA_KEY_FILE} that was made together with {CA_FILE}",
            )
        return cls(name_in(certificate), certificate_pem, key_pem)

    def save(self, folder: Path) -> None:
        """Write the key, readable by its owner only; the certificate is saved with the identity.

        Raises:
            UsageError: the folder cannot be written.
        """
        with writing(folder):
            write_atomically(folder / CA_KEY_FILE, self.private_key_pem.encode(), mode=0o600)

    def issue(self, *, now: datetime | None = None, validity: timedelta = VALIDITY) -> Identity:
        """A new key and certificate for TLS from ``now`` on (default: the clock's), within the authority's.

        Raises:
            UsageError: ``authority-expired``.
        """
        moment = _moment(now)
        authority = read_certificate(self.certificate_pem)
        if moment >= authority.not_valid_after_utc:
            raise UsageError(
                "authority-expired",
                f"the authority of {self.party} expired on {authority.not_valid_after_utc:%Y-%m-%d}",
                remedy="run `parley identity replace`, and have every peer pin the new one",
            )
        key = Ed25519PrivateKey.generate()
        signer = Ed25519PrivateKey.from_private_bytes(_raw(self.private_key_pem))
        ends = min(moment + validity, authority.not_valid_after_utc)
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = _begun(_name(self.party), authority.subject, key.public_key(), moment, ends)
        leaf = _for_tls(builder, self.party).add_extension(by, critical=False).sign(signer, None)
        return Identity(self.party, self.certificate_pem, _pem(leaf), _key_pem(key))


def create_identity(party: str, *, now: datetime | None = None) -> Identity:
    """An identity under a new authority whose key is kept nowhere.

    Raises:
        UsageError: ``party`` cannot name a party.
    """
    return Authority.create(party, now=now).issue(now=now)


def create_single(party: str, *, now: datetime | None = None, seed: bytes | None = None) -> Identity:
    """A new key and a certificate that signs itself, valid for two years from ``now`` (default: the clock's).

    With 32 secret bytes as ``seed`` and the same ``now``, whoever knows them makes the same identity.

    Raises:
        UsageError: ``party`` cannot name a party.

    """
    moment = _moment(now)
    key = Ed25519PrivateKey.generate() if seed is None else Ed25519PrivateKey.from_private_bytes(seed)
    name = _name(check_party(party))
    serial = None if seed is None else 1
    builder = _begun(name, name, key.public_key(), moment, moment + SINGLE_VALIDITY, serial)
    pem = _pem(_for_tls(builder, party).sign(key, None))
    return Identity(party, pem, pem, _key_pem(key))


def _moment(now: datetime | None) -> datetime:
    return (datetime.now(UTC) if now is None else now).replace(microsecond=0)


def _name(party: str, unit: str = "") -> x509.Name:
    """A subject; the authority's has a unit too, so that it is another name than that of what it signs."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, party)]
    if unit:
        names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
    return x509.Name(names)


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: Ed25519PublicKey,
    moment: datetime,
    ends: datetime,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number() if serial is None else serial)
        .not_valid_before(moment - CLOCK_SKEW)
        .not_valid_after(ends)
    )


def _for_tls(builder: x509.CertificateBuilder, party: str) -> x509.CertificateBuilder:
    ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(party)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(ends), critical=False)
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    """To sign certificates and nothing else, or anything but certificates."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _key_pem(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _raw(key_pem: str) -> bytes:
    return read_private_key(key_pem, Path(CA_KEY_FILE)).private_bytes_raw()
