"""Whom a party knows: what it was told by its own people, and what the ledger says, which goes before.

One thing goes before the ledger: a peer that was replaced by hand (`parley peer add --replace`) because our
copy of the ledger still has the certificate that no longer counts. That holds until the ledger has another.
"""

from collections.abc import Mapping

from parley.core.errors import UsageError
from parley.ledger.contract import View
from parley.net.certificates import fingerprint_of
from parley.party.ledger import neighbours, placeless
from parley.store.catalogue import Peer
from parley.store.home import Home


def acquainted(home: Home, told: Mapping[str, Peer], view: View | None) -> dict[str, Peer]:
    """Everyone by name.

    Args:
        home: of our party.
        told: whom our own people told us of.
        view: the state of the ledger, if there is one and it is not empty.
    """
    known = dict(told)
    if view is not None:
        disowned = home.disowned
        for name in placeless(view):
            known.pop(name, None)
        for member in neighbours(view):
            by_hand = known.get(member.name)
            if by_hand is not None and fingerprint_of(member.certificate) == disowned.get(member.name):
                known[member.name] = Peer(member.name, by_hand.address or member.address, by_hand.certificate)
            else:
                known[member.name] = member
    known.pop(home.settings.party, None)
    return known


def peer_of(known: dict[str, Peer], name: str) -> Peer:
    """One of those we know.

    Raises:
        UsageError: ``unknown-peer``.
    """
    if name not in known:
        raise UsageError(
            "unknown-peer",
            f"party {name!r} is not known here; known are {', '.join(known) or 'none'}",
            remedy="exchange certificates and run `parley peer add`; a removed member is invited anew",
        )
    return known[name]
