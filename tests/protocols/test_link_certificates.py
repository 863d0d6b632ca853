"""Certificates that change under a link: renewed, nobody notices; replaced, the link ends at both ends."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from parley.core.errors import PeerError, PeerLost, PolicyRefused, UsageError
from parley.net import link as link_module
from parley.net import links as links_module
from parley.net.authority import VALIDITY, Authority, create_identity
from parley.net.links import DIAL_ANEW
from parley.net.tls import PeerPin

from tests.channels import Linked, identity_of, stream_between

pytestmark = pytest.mark.timeout(60)

NOW = datetime.now(UTC)
AUTHORITY = {name: Authority.create(name) for name in ("left", "right", "other")}


class Clock:
    def __init__(self):
        self.ahead = timedelta()

    def __call__(self):
        return datetime.now(UTC) + self.ahead


class Renewing(Linked):
    """A party under an authority that can issue again."""

    def __init__(self, name, peers, **options):
        self.clock = Clock()
        super().__init__(name, peers, clock=self.clock, **options)
        self.identity = AUTHORITY[name].issue()
        self.pins = {peer: PeerPin(peer, AUTHORITY[peer].certificate_pem) for peer in peers}

    def rotate(self):
        self.identity = AUTHORITY[self.name].issue()

    def link(self, peer):
        return self.links._links[peer]

    def shows(self, peer):
        """The fingerprint of the certificate that we showed on the connection that carries the link."""
        connection = self.link(peer).connection
        return connection and connection.transport.proof.ours.leaf_fingerprint


@asynccontextmanager
async def two(monkeypatch):
    """Left has dialled right."""
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    async with Renewing("right", ["left"]) as theirs, Renewing("left", ["right"], listens=False) as ours:
        ours.addresses["right"] = theirs.address
        yield ours, theirs


@asynccontextmanager
async def relayed(monkeypatch):
    """Left and other only dial out; right relays."""
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(links_module, "LOOK_AROUND", 0.05)
    async with (
        Renewing("right", ["left", "other"], relays=True) as middle,
        Renewing("left", ["right", "other"], listens=False, kept=lambda: ["right"]) as ours,
        Renewing("other", ["left", "right"], listens=False, kept=lambda: ["right"]) as theirs,
    ):
        for party in (ours, theirs):
            party.addresses["right"] = middle.address
            await until(lambda party=party: party.shows("right") if "right" in party.links._links else None)
        yield ours, theirs


async def until(found):
    while not (result := found()):
        await asyncio.sleep(0.01)
    return result


async def ended(stream):
    try:
        while True:
            await stream.recv()
    except PeerError as error:
        return error


# ── renewed ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", [two, relayed])
@pytest.mark.parametrize("who", [0, 1])
async def test_a_new_certificate_is_taken_up_under_a_stream_that_loses_nothing(monkeypatch, way, who):
    """By whoever dialled and by whoever was dialled; and the peer is told nothing."""
    async with way(monkeypatch) as parties:
        ours, theirs = parties
        rotates, other = parties[who], parties[1 - who]
        async with stream_between(ours, theirs) as (near, far):
            there = [b"%d" % n + bytes(n * 500) for n in range(150)]
            back = [b"%d" % n for n in range(1500)]

            async def pour(stream, frames):
                for number, frame in enumerate(frames):
                    await stream.send(frame)
                    if number % 10 == 0:
                        await asyncio.sleep(0)

            async def drain(stream, number):
                return [await stream.recv() for _ in range(number)]

            first = rotates.shows(other.name)
            work = asyncio.gather(pour(near, there), drain(far, 150), pour(far, back), drain(near, 1500))
            rotates.rotate()
            rotates.links.look()
            assert rotates.shows(other.name) == first, "a link that stands goes on"
            rotates.clock.ahead = VALIDITY - DIAL_ANEW
            rotates.links.look()
            _, came_there, _, came_back = await work
            assert (came_there, came_back) == (there, back)
            await until(lambda: rotates.shows(other.name) == rotates.identity.leaf_fingerprint)
            connection = other.link(rotates.name).connection
            assert connection.transport.fingerprint == rotates.identity.fingerprint


async def test_a_connection_whose_certificate_has_ended_is_made_anew(monkeypatch):
    async with two(monkeypatch) as (ours, theirs), stream_between(ours, theirs) as (near, far):
        before = ours.link("right").connection
        ours.clock.ahead = VALIDITY - timedelta(hours=1)
        ours.links.look()
        assert ours.link("right").connection is before, "without a newer certificate there is nothing to win"
        ours.clock.ahead = VALIDITY + timedelta(hours=1)
        ours.links.look()
        await until(lambda: ours.link("right").connection not in {None, before})
        await near.send(b"still here")
        assert await far.recv() == b"still here"


# ── replaced, let go of ───────────────────────────────────────────────────────────────────────────────


async def test_a_peer_that_replaced_its_certificate_loses_its_links_and_comes_back_with_the_new_one(
    monkeypatch,
):
    async with two(monkeypatch) as (ours, theirs):
        async with stream_between(ours, theirs) as (near, far):
            ours.identity = create_identity("left")
            theirs.pins["left"] = PeerPin("left", ours.identity.certificate_pem)
            theirs.links.look()
            for end in (near, far):
                error = await ended(end)
                assert (type(error), error.code) == (PeerLost, "certificate-revoked")
        async with stream_between(ours, theirs) as (near, far):
            await near.send(b"new")
            assert await far.recv() == b"new"
        for party in (ours, theirs):
            assert any("[certificate-revoked]" in line for line in party.log)


async def test_whoever_replaces_its_certificate_ends_its_links_too(monkeypatch):
    """Its peer has not heard of it yet, and lets it in when it has."""
    async with two(monkeypatch) as (ours, theirs):
        async with stream_between(ours, theirs) as (near, far):
            theirs.identity = create_identity("right")
            theirs.links.look()
            assert {(await ended(end)).code for end in (near, far)} == {"certificate-revoked"}
        with pytest.raises(PeerError) as caught:
            await ours.links.open("right", "/test")
        assert caught.value.code == "certificate-not-pinned"
        ours.pins["right"] = PeerPin("right", theirs.identity.certificate_pem)
        async with stream_between(ours, theirs):
            pass


async def test_who_has_stolen_the_old_key_is_refused_from_then_on(monkeypatch):
    async with two(monkeypatch) as (thief, theirs):
        async with stream_between(thief, theirs) as (near, _):
            theirs.pins["left"] = PeerPin("left", create_identity("left").certificate_pem)
            theirs.links.look()
            assert (await ended(near)).code == "certificate-revoked"
        with pytest.raises(PolicyRefused) as caught:
            await thief.links.open("right", "/test")
        assert caught.value.code == "certificate-unknown-to-peer"


async def test_whose_certificate_is_not_taken_any_more_hears_of_it_on_the_link_and_when_it_dials(monkeypatch):
    """Its own announcement may have reached the peer before it knows: then it is to change over."""
    doubts = []
    monkeypatch.setattr(link_module, "FIRST_PAUSE", 0.01)
    async with (
        Renewing("right", ["left"]) as theirs,
        Renewing("left", ["right"], listens=False) as ours,
    ):
        ours.links.doubted = lambda: doubts.append(1)
        ours.addresses["right"] = theirs.address
        async with stream_between(ours, theirs) as (near, _):
            theirs.pins["left"] = PeerPin("left", create_identity("left").certificate_pem)
            theirs.links.look()
            assert (await ended(near)).code == "certificate-revoked"
        assert len(doubts) == 1
        with pytest.raises(PolicyRefused):
            await ours.links.open("right", "/test")
        assert len(doubts) == 2


async def test_a_conversation_that_begins_under_an_old_certificate_ends_the_link_without_a_look(monkeypatch):
    monkeypatch.setattr(links_module, "LOOK_AROUND", 1000.0)
    async with two(monkeypatch) as (ours, theirs), stream_between(ours, theirs) as (near, _):
        theirs.pins["left"] = PeerPin("left", create_identity("left").certificate_pem)
        await ours.links.open("right", "/more")
        assert (await ended(near)).code == "certificate-revoked"


async def test_a_peer_that_is_let_go_of_loses_its_link_at_once_and_is_not_dialled(monkeypatch):
    async with two(monkeypatch) as (ours, theirs):
        async with stream_between(ours, theirs) as (near, far):
            address = ours.addresses.pop("right")
            ours.links.look()
            for end in (near, far):
                error = await ended(end)
                assert (type(error), error.code) == (PeerLost, "peer-let-go")
        assert ours.link("right").dialling is None
        with pytest.raises(UsageError):
            await ours.links.open("right", "/test")
        ours.addresses["right"] = address
        async with stream_between(ours, theirs):
            pass


async def test_a_link_is_left_alone_while_all_is_as_it_was(monkeypatch):
    async with two(monkeypatch) as (ours, theirs), stream_between(ours, theirs) as (near, far):
        before = ours.link("right").connection
        for party in (ours, theirs):
            party.links.look()
        await near.send(b"x")
        assert await far.recv() == b"x"
        assert ours.link("right").connection is before
        assert identity_of("left").fingerprint != ours.identity.fingerprint
