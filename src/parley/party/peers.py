"""Whom a party knows: taking in a peer's certificate."""

from parley.core.errors import UsageError
from parley.net.certificates import check_party, check_pinnable, fingerprint_of, grouped, named_in
from parley.party.acquaintance import acquainted
from parley.party.address import address_of
from parley.party.chronicle import Chronicle
from parley.party.ledger import announced
from parley.store.catalogue import Peer
from parley.store.home import Home


def register_peer(home: Home, peer: Peer, *, replace: bool) -> None:
    """Trust a peer by the one certificate that vouches for it; raises as `check_peer`.

    If our copy of the ledger has another one, that one does not count any more: it is too old.
    """
    on_ledger = _on_ledger(home, peer.name)
    check_peer(home, peer, replace=replace, pinned=_counting(home, peer.name))
    home.catalogue.keep_peer(peer)
    if on_ledger is not None and (theirs := fingerprint_of(on_ledger)) != fingerprint_of(peer.certificate):
        home.disown(peer.name, theirs)


def _on_ledger(home: Home, member: str) -> str | None:
    """The certificate that our copy of the ledger has of a member."""
    if home.membership is None:
        return None
    try:
        with Chronicle.open(home) as ledger:
            known = announced(ledger.view, member)
            return None if known is None else known.certificate
    except UsageError:  # nothing fetched yet
        return None


def _counting(home: Home, name: str) -> str | None:
    """The certificate by which we know a peer now."""
    told = home.catalogue.peers()
    known = told.get(name)
    try:
        with Chronicle.open(home) as ledger:
            known = acquainted(home, told, ledger.view).get(name)
    except UsageError:  # no ledger, or nothing of it yet
        pass
    return None if known is None else known.certificate


def check_peer(home: Home, peer: Peer, *, replace: bool, pinned: str | None = None) -> None:
    """Whether a peer may be trusted by a certificate. Numbered checks.

    Args:
        home: who trusts.
        peer: whom.
        replace: whether another certificate may take the place of the one we pinned.
        pinned: that one; by default what our own people told us.

    Raises:
        UsageError: a check failed.
    """
    # 1. the name may name a party, and the address is one
    check_party(peer.name)
    if peer.address:
        address_of(peer.address)
    # 2. the certificate can be pinned, is that party's, and not our own
    check_pinnable(peer.certificate)
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
    before = known.certificate if pinned is None and known is not None else pinned
    if before is not None and not replace and (held := fingerprint_of(before)) != fingerprint:
        raise UsageError(
            "peer-has-another-certificate",
            f"{peer.name} is known here by certificate {grouped(held)}, not by {grouped(fingerprint)}",
            remedy=f"compare fingerprints with {peer.name} by telephone; if it has a new one, add --replace",
        )
