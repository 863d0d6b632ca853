"""Whom a party knows: taking in a peer's certificate."""

from parley.core.errors import UsageError
from parley.net.certificates import check_party, fingerprint_of, grouped, named_in
from parley.party.address import address_of
from parley.store.catalogue import Peer
from parley.store.home import Home


def register_peer(home: Home, peer: Peer, *, replace: bool) -> None:
    """Trust a peer by the one certificate it may present; raises as `check_peer`."""
    check_peer(home, peer, replace=replace)
    home.catalogue.keep_peer(peer)


def check_peer(home: Home, peer: Peer, *, replace: bool) -> None:
    """Whether a peer may be trusted by a certificate. Numbered checks.

    Args:
        home: who trusts.
        peer: whom.
        replace: whether another certificate may take the place of the one we pinned.

    Raises:
        UsageError: a check failed.
    """
    # 1. the name may name a party, and the address is one
    check_party(peer.name)
    if peer.address:
        address_of(peer.address)
    # 2. the certificate is that party's, and not our own
    fingerprint = fingerprint_of(peer.certificate)
    holder = named_in(peer.certificate)
    if holder == home.settings.party:
        raise UsageError(
            "own-certificate",
            f"the certificate is of {holder}, who we are ourselves",
            remedy="ask the peer for the file that `parley identity` names there",
        )
    if holder != peer.name:
        raise UsageError(
            "other-party-named",
            f"the certificate is of {holder!r}, not of {peer.name!r}",
            remedy=f"add it under its own name: plans call that party {holder!r} on every side",
        )
    # 3. a certificate that we pinned before is not exchanged by the way
    known = home.catalogue.peers().get(peer.name)
    if known is not None and not replace and (pinned := fingerprint_of(known.certificate)) != fingerprint:
        raise UsageError(
            "peer-has-another-certificate",
            f"{peer.name} is known here by certificate {grouped(pinned)}, not by {grouped(fingerprint)}",
            remedy=f"compare fingerprints with {peer.name} by telephone; if it has a new one, add --replace",
        )
