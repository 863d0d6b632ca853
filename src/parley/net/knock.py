"""Looking at the certificate that a listener shows, before it is pinned: only its fingerprint is known."""

import asyncio
import hashlib
import ssl

from parley.core.errors import PeerLost, PeerMisbehaved
from parley.net import tls
from parley.net.certificates import grouped
from parley.net.proxy import NO_PROXY, Proxies
from parley.net.websocket import connect

_SECONDS = 10.0


async def shown_certificate(address: str, peer: str, fingerprint: str, proxies: Proxies = NO_PROXY) -> str:
    """The authority, in PEM, of whoever answers at ``host:port``, if it has the fingerprint.

    Whether that authority vouches for who answers is seen when it is pinned and dialled.

    Raises:
        PeerLost: nobody answers, or not with TLS; or the proxy does not let us through.
        PeerMisbehaved: it is another certificate.
    """
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_SECONDS):
            stream = await connect(host.strip("[]"), int(port), peer, proxies)
            shown = await tls.shown(stream)
    except (OSError, TimeoutError, ValueError) as error:
        raise PeerLost(
            "peer-unreachable",
            f"{peer} does not answer on {address}: {error}",
            peer=peer,
            remedy=f"ask {peer} whether its party is running and the port is open",
        ) from None
    certificate = shown[-1]
    if (found := hashlib.sha256(certificate).hexdigest()) != fingerprint:
        raise PeerMisbehaved(
            "certificate-not-pinned",
            f"{address} shows certificate {grouped(found)}, the invitation names {grouped(fingerprint)}",
            peer=peer,
            remedy="do not go on: compare fingerprints with whoever invited you",
        )
    return ssl.DER_cert_to_PEM_cert(certificate)
