"""What a newcomer believes of who invited it."""

import asyncio
import time

import pytest

from parley.core.errors import PeerAborted, UsageError
from parley.core.trace import Trace
from parley.net.authority import create_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party.entry import enter
from parley.party.invitations import Invitation
from parley.protocols import joining
from parley.store.catalogue import Peer
from parley.store.home import Home
from parley.store.settings import Settings

pytestmark = pytest.mark.timeout(60)


async def invited(home, members):
    """Join with an inviter that says so of the members."""
    invitation = Invitation.fresh(
        "insurer", "bank.example:7443", "bank", "00" * 32, "ab" * 32, int(time.time()) + 999
    )
    near, far = memory_pair("insurer", "bank")

    async def invite():
        setting = Setting(joining.STEPS, joining.INVITER, "ledger", Trace(time.monotonic), 5.0)
        async with CheckedChannel(far, setting) as channel:
            await channel.recv(joining.Arrival)
            await channel.send(joining.Welcome(invitation.consortium, 1, "bank", members))
            await channel.recv(joining.Entry)
            await channel.send(joining.Entered())

    async def join():
        setting = Setting(joining.STEPS, joining.NEWCOMER, "ledger", Trace(time.monotonic), 5.0)
        async with CheckedChannel(near, setting) as channel:
            await enter(channel, home, invitation, create_identity("insurer").certificate_pem)

    return await asyncio.gather(invite(), join(), return_exceptions=True)


def neighbour(name, certificate=None):
    return joining.Neighbour(
        name, f"{name}.example:7443", certificate or create_identity(name).certificate_pem
    )


@pytest.fixture
def home(tmp_path):
    return Home.create(tmp_path / "insurer", Settings(party="insurer", listen="127.0.0.1:7443"))


async def test_a_newcomer_knows_the_members_afterwards(home):
    members = (neighbour("bank"), neighbour("operator"), neighbour("insurer"))
    assert await invited(home, members) == [None, None]
    assert list(home.catalogue.peers()) == ["bank", "operator"]
    assert home.membership.sequencer == "bank"


@pytest.mark.parametrize(
    "other",
    [neighbour("operator"), neighbour("bank", "nonsense"), neighbour("bank", neighbour("x").certificate)],
)
async def test_an_inviter_cannot_exchange_a_pin_or_plant_a_false_one(home, other):
    pinned = Peer("operator", "", create_identity("operator").certificate_pem)
    home.catalogue.keep_peer(pinned)
    told, error = await invited(home, (other,))
    assert isinstance(error, UsageError)
    assert isinstance(told, PeerAborted)
    assert home.catalogue.peers() == {"operator": pinned}
    assert home.membership is None
