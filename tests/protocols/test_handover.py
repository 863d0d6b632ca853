"""Connections that go on to another process of ours: who comes with a ticket, and who does not."""

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from parley.core.errors import ParleyError
from parley.net import handover, websocket
from parley.net.handover import OUTSTANDING, VALID, Reception, Tickets, hand_over, server_name
from parley.net.websocket import PeerListener, dial

from tests.channels import identity_of, listening, pin_of

pytestmark = pytest.mark.timeout(60)


class Port:
    """A party's port, and what stands behind it for another process: what came where, by path."""

    def __init__(self):
        self.now = 0.0
        self.tickets = Tickets(lambda: self.now)
        self.at_port, self.behind, self.refused = asyncio.Queue(), asyncio.Queue(), []
        self.door, over = socket.socketpair(type=socket.SOCK_DGRAM)
        self.reception = Reception(over)
        pins = {"left": pin_of("left")}
        self.inner = PeerListener(
            "", 0, identity_of("right"), pins, self.came_behind, on_refused=self.was_refused
        )
        self.taking = set()

    def was_refused(self, _address, why):
        self.refused.append(why)

    async def came(self, peer, path, transport):
        self.at_port.put_nowait((peer, path))
        await transport.send(b"port")

    async def came_behind(self, peer, path, transport):
        self.behind.put_nowait((peer, path))
        await transport.send(await transport.recv())

    def issue(self, number="n", peer="left"):
        """A ticket for a peer; its connection is handed over under a number."""

        async def taken():
            await self.inner.take_in(await self.reception.take(number))

        def take(connected):
            hand_over(self.door, number, connected)
            self.taking.add(asyncio.create_task(taken()))

        return self.tickets.issue(peer, take)


@asynccontextmanager
async def port():
    made = Port()
    pins = {name: pin_of(name) for name in ("left", "third")}
    async with listening(made.came, pins, tickets=made.tickets) as listener:
        made.address = listener.address
        try:
            yield made
        finally:
            for task in made.taking:
                task.cancel()
            await asyncio.gather(*made.taking, return_exceptions=True)
            made.reception.close()
            made.door.close()


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


async def reach(made, ticket="", who="left"):
    name = server_name(ticket) if ticket else ""
    return await dial(made.address, identity_of(who), pin_of("right"), "/path", server_name=name)


async def test_a_connection_with_a_ticket_goes_on_unread_and_both_ends_prove_themselves_there():
    async with port() as made:
        line = await reach(made, made.issue())
        await line.send(b"there and back")
        assert await line.recv() == b"there and back"
        assert await made.behind.get() == ("left", "/path")
        assert made.at_port.empty()
        await line.close()


async def test_others_come_to_the_port_as_ever_while_tickets_are_outstanding():
    async with port() as made:
        made.issue()
        line = await reach(made)
        assert await line.recv() == b"port"
        assert made.behind.empty()
        await line.close()


async def test_a_ticket_counts_once_and_for_a_while_and_one_that_nobody_issued_never():
    async with port() as made:
        ticket, late, other = made.issue("first"), made.issue("late"), made.issue("other")
        line = await reach(made, ticket)
        await line.send(b"x")
        assert await line.recv() == b"x"
        await line.close()
        made.now = VALID + 1
        assert not made.tickets.outstanding
        made.issue("fresh")
        for spent in (ticket, late, other, "0" * 32):
            line = await reach(made, spent)
            assert await line.recv() == b"port"
            await line.close()


async def test_who_has_anothers_ticket_is_turned_away_behind_the_port():
    async with port() as made:
        with pytest.raises(ParleyError) as refused:
            await (await reach(made, made.issue(), "third")).recv()
        assert refused.value.code in {"certificate-unknown-to-peer", "connection-lost", "tls-failed"}
        assert made.behind.empty()
        assert made.at_port.empty()
        assert made.refused


async def test_who_says_nothing_holds_nothing(monkeypatch):
    monkeypatch.setattr(websocket, "HANDSHAKE", 0.2)
    async with port() as made:
        made.issue()
        held = descriptors()
        host, _, number = made.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(number))
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert descriptors() <= held


async def test_of_many_tickets_of_a_peer_its_oldest_count_no_more_and_another_peers_do():
    async with port() as made:
        other = made.issue(peer="third")
        issued = [made.issue(str(number)) for number in range(OUTSTANDING + 1)]
        assert made.tickets.redeem(server_name(issued[0]).encode()) is None
        assert made.tickets.redeem(b"\x16" + server_name(issued[-1]).encode()) is not None
        assert made.tickets.redeem(server_name(other).encode()) is not None


async def test_a_hello_may_come_in_pieces():
    async with port() as made:
        sent = ssl.MemoryBIO()
        hello = ssl.create_default_context().wrap_bio(
            ssl.MemoryBIO(), sent, server_hostname=server_name(made.issue())
        )
        with pytest.raises(ssl.SSLWantReadError):
            hello.do_handshake()
        host, _, number = made.address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(number))
        data = sent.read()
        for piece in (data[:3], data[3:40], data[40:]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        while not made.taking:
            await asyncio.sleep(0.01)
        assert made.at_port.empty()
        writer.close()


async def test_a_connection_that_nobody_asks_for_is_ended(monkeypatch):
    monkeypatch.setattr(handover, "UNWANTED", 0.05)
    here, there = socket.socketpair(type=socket.SOCK_DGRAM)
    reception = Reception(there)
    given_up = asyncio.create_task(reception.take("late"))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    near, far = socket.socketpair()
    hand_over(here, "late", far)
    assert await asyncio.to_thread(near.recv, 1) == b""
    reception.close()
    here.close()
    near.close()


async def test_a_connection_may_come_before_somebody_waits_for_it_and_ends_if_nobody_does():
    here, there = socket.socketpair(type=socket.SOCK_DGRAM)
    reception = Reception(there)
    near, far = socket.socketpair()
    lost, unwanted = socket.socketpair()
    hand_over(here, "early", far)
    hand_over(here, "unwanted", unwanted)
    await asyncio.sleep(0.05)
    taken = await reception.take("early")
    reception.close()
    taken.sendall(b"x")
    assert near.recv(1) == b"x"
    assert lost.recv(1) == b""
    for each in (here, near, lost, taken):
        each.close()
