"""TLS 1.3 with pinned certificates: the two contexts, and what a failed handshake means.

Formal guarantees: OpenSSL accepts a certificate only if it is, or was signed by, a pinned one, and
only from who holds its key; `presented` then names the certificate itself, and the caller
compares it with the pin. Both checks must pass before a byte of the application is sent or read.
"""

import asyncio
import functools
import hashlib
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from parley.core.errors import PeerLost, PeerMisbehaved, PolicyRefused
from parley.net.certificates import Identity, check_party, fingerprint_of, grouped

_EXPIRED: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


@dataclass(frozen=True)
class PeerPin:
    """A peer as our peer list knows it: its name and the one certificate it may present."""

    name: str
    certificate_pem: str

    def __post_init__(self) -> None:
        check_party(self.name)
        fingerprint_of(self.certificate_pem)

    @functools.cached_property
    def fingerprint(self) -> str:
        """The pinned certificate's SHA-256, 64 hex digits."""
        return fingerprint_of(self.certificate_pem)


def client_context(identity: Identity, pin: PeerPin) -> ssl.SSLContext:
    """For dialling ``pin``, which may answer with its pinned certificate only."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, identity, (pin.certificate_pem,))


def server_context(identity: Identity, pins: Iterable[PeerPin]) -> ssl.SSLContext:
    """For listening; a client must present a pinned certificate or our own."""
    accepted = (identity.certificate_pem, *(pin.certificate_pem for pin in pins))
    return _context(ssl.PROTOCOL_TLS_SERVER, identity, accepted)


def presented(tls: asyncio.Transport) -> str:
    """The fingerprint of the certificate the other end proved to own."""
    certificate: bytes = tls.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return hashlib.sha256(certificate).hexdigest()


async def diagnose(host: str, port: int) -> str:
    """The fingerprint of whatever certificate the server at the address presents, for an error text.

    Nothing is sent, our certificate least of all, and nothing is believed.
    """
    stream, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    return hashlib.sha256(await shown(stream)).hexdigest()


async def shown(stream: asyncio.Transport) -> bytes:
    """The certificate, in DER, that whoever is at the other end presents; ends the connection.

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
        certificate: bytes = secured.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return certificate
    finally:
        stream.abort()


def not_pinned(pin: PeerPin, got: str | None) -> PeerMisbehaved:
    """The other end is not who we pinned."""
    shown = "another certificate" if got is None else f"certificate {grouped(got)}"
    return PeerMisbehaved(
        "certificate-not-pinned",
        f"who answers for {pin.name} presented {shown}; expected {grouped(pin.fingerprint)}",
        peer=pin.name,
        remedy=f"check the address; if {pin.name} has a new certificate, compare fingerprints by telephone",
    )


def handshake_failed(pin: PeerPin, error: OSError) -> PeerLost | PolicyRefused:
    """What a handshake that broke off means, other than an unexpected certificate."""
    if isinstance(error, ssl.SSLCertVerificationError) and outdated(error):
        return PolicyRefused(
            "certificate-expired",
            f"the certificate of {pin.name} is not valid today: {error.verify_message}",
            remedy=f"ask {pin.name} for its new certificate, and check both clocks",
        )
    if says_unknown(error):
        return unknown_to(pin.name)
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return PeerLost(
        "tls-failed",
        f"no TLS 1.3 session with {pin.name}: {reason or type(error).__name__}",
        peer=pin.name,
        remedy="check that the port is the peer's Parley port and that no proxy opens the connection",
    )


def outdated(error: ssl.SSLCertVerificationError) -> bool:
    """Whether the certificate was refused for its dates."""
    return error.verify_code in _EXPIRED


def says_unknown(error: BaseException | None) -> bool:
    """Whether the other end refused our certificate by a TLS alert."""
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason is not None and "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def unknown_to(peer: str) -> PolicyRefused:
    """The other end is the pinned one, but hung up at the sight of our certificate."""
    return PolicyRefused(
        "certificate-unknown-to-peer",
        f"{peer} ended the connection when it saw our certificate: it is not in its peer list",
        remedy=f"send our certificate to {peer} and ask it to add or renew us in its peer list",
    )


@functools.lru_cache(maxsize=64)
def _context(side: int, identity: Identity, accepted: tuple[str, ...]) -> ssl.SSLContext:
    """A context, made once: parsing keys and certificates costs more than a handshake with them."""
    context = ssl.SSLContext(side)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the pin names the peer, not the host
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
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
        file.write((identity.private_key_pem + identity.certificate_pem).encode("ascii"))
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{handle}")
