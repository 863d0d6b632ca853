"""Whether a certificate that somebody presents is one for which the pinned certificate vouches.

What is pinned of a peer is its authority: a certificate that signs the peer's own short-lived ones, and
nobody else's. Homes made before there were authorities, and newcomers with an invitation, have one
certificate that signs itself; then that very certificate has to be presented.

Pure: no clock, no network; no other authority is ever asked.
"""

from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

TOLERANCE: Final = timedelta(minutes=5)
"""How far our clock and the peer's may differ at either end of a certificate's life."""

Fault = Literal["certificate-not-pinned", "certificate-expired", "certificate-invalid"]

_BOTH_ENDS: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
_MALFORMED: Final = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


class Unvouched(Exception):
    """A check failed.

    Attributes:
        code: ``certificate-not-pinned``: it is somebody else's; ``certificate-expired``: it is the peer's,
            but not now; ``certificate-invalid``: the peer signed it, but it may not be used like that.
        why: what is wrong with the certificate.
    """

    def __init__(self, code: Fault, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


def name_in(certificate: x509.Certificate) -> str:
    """The party that a certificate names; empty if it names none."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else ""


def is_authority(certificate: x509.Certificate) -> bool:
    """Whether a certificate says that it signs others.

    Raises:
        Unvouched: its extensions cannot be read.
    """
    constraints = _found(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def check_vouched(presented: x509.Certificate, pin: x509.Certificate, party: str, now: datetime) -> None:
    """Whether ``presented`` proves that its owner is ``party``, whose pinned certificate is ``pin``.

    Numbered checks:

    1. A pin that is no authority must be presented itself, byte for byte; then only 3 and 8 remain.
    2. The pin may sign: see `check_authority`.
    3. The names are the party's: in the pin, in the certificate, and in its only alternative name.
    4. The chain is exactly these two: the pin's name stands as the issuer, its key has signed.
    5. The certificate signs no others, and may be used to prove who one is: flag and key usage.
    6. Its key is an Ed25519 key.
    7. It is meant for both ends of TLS: both extended key usages, as everyone dials and is dialled.
    8. Both are valid now, give or take `TOLERANCE`.

    Raises:
        Unvouched: a check failed.
    """
    # 1
    if not is_authority(pin):
        if presented.public_bytes(Encoding.DER) != pin.public_bytes(Encoding.DER):
            raise Unvouched("certificate-not-pinned", "it is not the one that is pinned")
        _check_names(party, presented)
        _check_dates(presented, now, "it")
        return
    # 2
    check_authority(pin)
    # 4 (before 3, so that what a stranger made is called a stranger's)
    try:
        presented.verify_directly_issued_by(pin)
    except (*_MALFORMED, InvalidSignature):
        raise Unvouched("certificate-not-pinned", "the pinned authority has not signed it") from None
    # 3
    _check_names(party, pin, presented)
    alternative = _found(presented, x509.SubjectAlternativeName)
    if alternative is None or list(alternative) != [x509.DNSName(party)]:
        raise Unvouched("certificate-invalid", f"its alternative name is not {party} alone")
    # 5
    if is_authority(presented):
        raise Unvouched("certificate-invalid", "it is an authority, which may not be used on a connection")
    usage = _found(presented, x509.KeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign or usage.crl_sign:
        raise Unvouched("certificate-invalid", "its key usage is not to sign, and no certificates")
    # 6
    if not isinstance(presented.public_key(), Ed25519PublicKey):
        raise Unvouched("certificate-invalid", "its key is no Ed25519 key")
    # 7
    ends = _found(presented, x509.ExtendedKeyUsage)
    if ends is None or not {*ends} >= _BOTH_ENDS:
        raise Unvouched("certificate-invalid", "it is not meant for both ends of a connection")
    # 8
    _check_dates(presented, now, "it")
    _check_dates(pin, now, "the authority that signed it")


def check_authority(pin: x509.Certificate) -> None:
    """Whether a pinned authority may sign: it says so, its key usage too, and its key is an Ed25519 key.

    Raises:
        Unvouched: a check failed.
    """
    usage = _found(pin, x509.KeyUsage)
    if usage is None or not usage.key_cert_sign:
        raise Unvouched("certificate-invalid", "the pinned authority may not sign certificates")
    if not isinstance(pin.public_key(), Ed25519PublicKey):
        raise Unvouched("certificate-invalid", "the key of the pinned authority is no Ed25519 key")


def _check_names(party: str, *certificates: x509.Certificate) -> None:
    for certificate in certificates:
        if (named := name_in(certificate)) != party:
            raise Unvouched("certificate-invalid", f"it names {named[:64]!r}, not {party!r}")


def _check_dates(certificate: x509.Certificate, now: datetime, which: str) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins - TOLERANCE:
        raise Unvouched("certificate-expired", f"{which} is valid from {begins:%Y-%m-%d %H:%M} UTC on")
    if now > ends + TOLERANCE:
        raise Unvouched("certificate-expired", f"{which} was valid until {ends:%Y-%m-%d %H:%M} UTC")


def _found(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
    except _MALFORMED:
        raise Unvouched("certificate-invalid", "its extensions cannot be read") from None
