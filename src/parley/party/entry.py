"""The newcomer's side of joining: keys, two signed transactions, and what it was told."""

from parley.core.conversation import Channel
from parley.core.errors import UsageError
from parley.party import node
from parley.party.invitations import Invitation
from parley.party.ledger import Author, announcement
from parley.party.peers import check_peer
from parley.protocols import joining
from parley.store.catalogue import Peer
from parley.store.home import Home, Membership
from parley.store.keys import LedgerKeys


async def enter(channel: Channel, home: Home, invitation: Invitation, certificate: str) -> None:
    """Join; afterwards the home knows its consortium and everybody in it.

    Args:
        channel: to the inviter.
        home: of the newcomer.
        invitation: that it holds.
        certificate: of the newcomer's port, in PEM.

    Raises:
        UsageError: the inviter names a member by another certificate than the one we pinned, or by none; or
            CometBFT orders there, and we have prepared no node.
        PeerMisbehaved: it keeps another ledger than the invitation names.
    """
    await channel.send(joining.Arrival(invitation.name))
    welcome = await channel.recv(joining.Welcome)
    if welcome.consortium != invitation.consortium:
        raise channel.fault("consortium-other", "keeps another ledger than the invitation names")
    plan = home.node
    if plan is None and not welcome.sequencer:
        raise UsageError(
            "node-not-prepared",
            f"CometBFT orders in the consortium, and {home.settings.party} has no node",
            remedy="run `parley consortium node --listen HOST:PORT`, then join again with the same string",
        )
    members = [
        Peer(each.name, each.address, each.certificate)
        for each in welcome.members
        if each.name != home.settings.party
    ]
    for member in members:  # the inviter's word is not enough to exchange what we pinned ourselves
        check_peer(home, member, replace=False)
    keys = LedgerKeys.create(home.path / "keys")
    signer = Author(invitation.name, invitation.key, welcome.consortium)
    joins = signer.sign("member.join", dict(keys.public()), welcome.height)
    author = Author(invitation.name, keys.signing, welcome.consortium)
    announces = author.sign(
        "member.announce", announcement(home.settings.reached_at(), certificate), welcome.height
    )
    ours = b""
    if plan is not None:
        ours = author.sign("member.announce-node", node.announcement(home, plan), welcome.height).data
    await channel.send(joining.Entry(joins.data, announces.data, ours))
    await channel.recv(joining.Entered)
    for member in members:
        home.catalogue.keep_peer(member)
    # where no single member orders, the inviter is as good as any to fetch the beginning of the ledger from
    names = tuple(sorted(member.name for member in members))
    home.keep_membership(Membership(welcome.consortium, welcome.sequencer or invitation.inviter, 0, names))
