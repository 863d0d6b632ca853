"""Whom a party knows: what it was told by its own people, and what the ledger says, which goes before.

One thing goes before the ledger: a peer that was replaced by hand (`parley peer add --replace`) because our
copy of the ledger still has the certificate that no longer counts. That holds until the ledger has another.

Whom the ledger names is noted in the home too, apart from the ledger: if its folder is lost, those are asked
for it. A ledger shorter than it was at that time names them as they were even earlier, so what was noted
goes before it until it has been filled up.
"""

from collections.abc import Mapping

from parley.core.errors import UsageError
from parley.ledger.contract import View
from parley.ledger.contract.members import active_members
from parley.ledger.contract.state import Draft
from parley.net.certificates import fingerprint_of
from parley.party.ledger import neighbours, placeless
from parley.store.catalogue import Peer
from parley.store.home import Home, Membership


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


def note_members(home: Home, view: View, size: int) -> None:
    """Note who is a member, and how each is reached, where it outlives the ledger.

    Args:
        home: of our party.
        view: the state of the ledger.
        size: its leaves, all final.

    Raises:
        ParleyError: the store cannot take it.
    """
    membership = home.membership
    if membership is None or size < membership.size:
        return
    told = home.catalogue.peers()
    known = acquainted(home, told, view)
    for member in neighbours(view):
        if member.name in known and known[member.name] != told.get(member.name):
            home.catalogue.keep_peer(known[member.name])
    names = (member.name for member in active_members(Draft(view)))
    others = tuple(sorted(name for name in names if name != home.settings.party))
    home.keep_membership(Membership(membership.consortium, membership.sequencer, size, others))


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
