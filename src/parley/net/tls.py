"""TLS 1.3 with pinned certificates: the two contexts, and what a failed handshake means.

Formal guarantees: OpenSSL accepts a certificate only if it is, or was signed by, a pinned one, and
only from who holds its key; the authorities of the system are not loaded. `check_presented` then holds the
certificate itself against the one pin that counts, by the rules of `vouching`. Both must pass before a byte
of the application is sent or read. Dates are left to the second, which allows for clocks that differ.
"""

import asyncio
import functools
import hashlib
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509

from parley.core.errors import PeerLost, PeerMisbehaved, PolicyRefused
from parley.net.certificates import Identity, check_party, fingerprint_of, grouped, read_certificate
from parley.net.vouching import Unvouched, check_vouched

_NO_DATES: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for


@dataclass(frozen=True)
class PeerPin:
    """A peer as our peer list knows it: its name, and the certificate that vouches for what it presents."""

    name: str
    certificate_pem: str

    def __post_init__(self) -> None:
        check_party(self.name)
        fingerprint_of(self.certificate_pem)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The pinned certificate's SHA-256, 64 hex digits."""
        return fingerprint_of(self.certificate_pem)

    @functools.cached_property
    def certificate(self) -> x509.Certificate:
        """What is pinned."""
        return read_certificate(self.certificate_pem)


def client_context(identity: Identity, pin: PeerPin) -> ssl.SSLContext:
    """For dialling ``pin``, which may answer with what its pinned certificate vouches for only."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity, (pin.certificate_pem,))


def server_context(identity: Identity, pins: Iterable[PeerPin]) -> ssl.SSLContext:
    """For listening; a pinned certificate, or ours, must vouch for a client's."""
    accepted = (identity.certificate_pem, *(pin.certificate_pem for pin in pins))
    return _context(ssl.PROTOCOL_TLS_SERVER, identity, accepted)


def presented(tls: asyncio.Transport) -> x509.Certificate:
    """The certificate the other end proved to own.

    Raises:
        Unvouched: it cannot be read.
    """
    certificate: bytes = tls.get_extra_info("ssl_object").getpeercert(binary_form=True)
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError:
        raise Unvouched("certificate-invalid", "it cannot be read") from None


def check_presented(leaf: x509.Certificate, pin: PeerPin) -> datetime:
    """Whether a peer's pin vouches for what it presented; returns until when, by both certificates.

    Raises:
        Unvouched: it does not.
    """
    check_vouched(leaf, pin.certificate, pin.name, datetime.now(UTC))
    return min(leaf.not_valid_after_utc, pin.certificate.not_valid_after_utc)


async def diagnose(host: str, port: int) -> str:
    """The fingerprint of what the server at the address would have us pin, for an error text.

    Nothing is sent, our certificate least of all, and nothing is believed.
    """
    stream, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    return hashlib.sha256((await shown(stream))[-1]).hexdigest()


async def shown(stream: asyncio.Transport) -> tuple[bytes, ...]:
    """The certificates, in DER, that whoever is at the other end presents; ends the connection.

    Its own comes first, the authority that it would have us pin last.

    Nothing is sent, our certificate least of all, and nothing is believed.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        secured = await asyncio.get_running_loop().start_tls(stream, asyncio.Protocol(), context)
        if secured is None:
            raise ConnectionResetError
        return _chain(secured.get_extra_info("ssl_object"))
    finally:
        stream.abort()


def _chain(session: Any) -> tuple[bytes, ...]:  # noqa: ANN401 (an SSLObject, with more than its stubs know)
    """What the other end sent; from Python 3.13 on there is a public way to ask."""
    if hasattr(session, "get_unverified_chain"):
        return tuple(session.get_unverified_chain())
    sent = session._sslobj.get_unverified_chain()  # noqa: SLF001
    return tuple(ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in sent)


def not_pinned(pin: PeerPin, got: str | None) -> PeerMisbehaved:
    """The other end is not who we pinned."""
    shown = "another certificate" if got is None else f"certificate {grouped(got)}"
    return PeerMisbehaved(
        "certificate-not-pinned",
        f"who answers for {pin.name} presented {shown}; expected {grouped(pin.fingerprint)}",
        peer=pin.name,
        remedy=f"check the address; if {pin.name} has a new certificate, compare fingerprints by telephone",
    )


def not_vouched(pin: PeerPin, error: Unvouched) -> PeerMisbehaved | PolicyRefused:
    """The other end has the peer's certificate, or one that it signed, but it does not pass."""
    if error.code == "certificate-expired":
        return PolicyRefused(
            "certificate-expired",
            f"the certificate of {pin.name} is not valid now: {error.why}",
            remedy=f"check both clocks; if they are right, {pin.name} runs `parley identity rotate`",
        )
    return PeerMisbehaved(
        error.code,
        f"the certificate of {pin.name} is refused: {error.why}",
        peer=pin.name,
        remedy=f"ask {pin.name} how that certificate was made; `parley identity rotate` makes a good one",
    )


def handshake_failed(pin: PeerPin, error: OSError) -> PeerLost | PolicyRefused:
    """What a handshake that broke off means, other than an unexpected certificate."""
    if says_unknown(error):
        return unknown_to(pin.name)
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return PeerLost(
        "tls-failed",
        f"no TLS 1.3 session with {pin.name}: {reason or type(error).__name__}",
        peer=pin.name,
        remedy="check that the port is the peer's Parley port and that no proxy opens the connection",
    )


def says_unknown(error: BaseException | None) -> bool:
    """Whether the other end refused our certificate by a TLS alert."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason is not None and "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def unknown_to(peer: str) -> PolicyRefused:
    """The other end is the pinned one, but hung up at the sight of our certificate."""
    return PolicyRefused(
        "certificate-unknown-to-peer",
        f"{peer} ended the connection when it saw our certificate: it does not know it, or not any more",
        remedy=f"see `parley doctor`, send our certificate to {peer}, and ask it to add us to its peer list",
    )


@functools.lru_cache(maxsize=64)
def _context(side: int, identity: Identity, accepted: tuple[str, ...]) -> ssl.SSLContext:
    """A context, made once: parsing keys and certificates costs more than a handshake with them."""
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the pin names the peer, not the host
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_DATES)
    for pem in accepted:
        context.load_verify_locations(cadata=pem)
    _load_pair(context, identity)
    if side == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0  # a resumed session would skip the certificate
    return context


def _load_pair(context: ssl.SSLContext, identity: Identity) -> None:
    """The ssl module reads keys from files only; an anonymous one keeps the key off the disk."""
    handle = os.memfd_create("identity")
    with os.fdopen(handle, "wb") as file:
        file.write((identity.private_key_pem + identity.chain_pem).encode("ascii"))
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}")
