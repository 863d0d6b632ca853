"""What is wrong between two parties is found at its layer, over real TLS; and what they tell one another."""

import ast
import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from parley.core.errors import PeerMisbehaved
from parley.core.trace import Trace
from parley.net.authority import create_identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.layers import DIALLED, LAYER_OF, LAYERS, layer_of
from parley.net.memory import memory_pair
from parley.net.proxy import NO_PROXY, Proxies
from parley.net.tls import PeerPin
from parley.net.websocket import PeerListener
from parley.party.examination import CLOCK, CLOCK_FAILS, Examiner, Reach, clocks, ledgers, releases, way_back
from parley.protocols.examination import CALLED, CALLER, PATH, STEPS, About, Compared, be_called, call

from tests.adversary.harness import cases, sweep
from tests.channels import Linked, identity_of, pin_of
from tests.system.parties import ROOT

pytestmark = pytest.mark.timeout(60)

FIT = ["clock", "release", "ledger", "way-back"]
HERE = About("0.1.0", 1.0e9, "ab" * 32, 7)


class Site(Linked):
    """A party that answers examinations, and can examine."""

    def __init__(self, name, peers, *, clock=time.time, proxies=NO_PROXY, patience=5.0, **options):
        super().__init__(name, peers, self._answer, proxies=proxies, **options)
        self.pins = {}
        reach = Reach(
            identity_of(name), self._contact, self._linked, self._open, proxies, self._listens, patience
        )
        self.examiner = Examiner(
            reach, lambda: shown(clock()), lambda: list(self.addresses), time.monotonic, self.log.append
        )

    def _contact(self, peer):
        contact = self.known(peer)
        return replace(contact, pin=self.pins.get(peer, contact.pin))

    def _linked(self, peer):
        return any(each.peer == peer and each.connected for each in self.links.figures())

    async def _open(self, peer, path):
        return await self.links.open(peer, path)

    async def _answer(self, peer, path, transport):
        if path == PATH:
            await self.examiner.serve(peer, transport)

    async def finds(self, peer="right"):
        """Verdicts by check, and the only failure if there is one."""
        findings = await self.examiner.examine(peer)
        assert [each.check for each in findings] == [*LAYERS[1:], *FIT], findings
        failures = [each for each in findings if each.verdict == "failure"]
        assert all(each.remedy for each in findings if each.verdict in {"failure", "warning"})
        return {each.check: each.verdict for each in findings}, failures


def shown(now):
    return About(HERE.release, now, HERE.consortium, HERE.height)


@asynccontextmanager
async def two(left=None, right=None, *, meet=True):
    """Two parties that have each other's addresses."""
    async with (
        Site("right", ["left"], **(right or {})) as theirs,
        Site("left", ["right"], **(left or {})) as ours,
    ):
        if meet:
            ours.addresses["right"] = theirs.address
            theirs.addresses["left"] = ours.address
        yield ours, theirs


async def fails_at(ours, layer, code):
    verdicts, (failure,) = await ours.finds()
    assert (failure.check, failure.code) == (layer, code), failure
    place = LAYERS.index(layer)
    assert all(verdicts[each] in {"ok", "skipped"} for each in LAYERS[1:place])
    assert all(verdicts[each] == "skipped" for each in (*LAYERS[place + 1 :], *FIT))


# ── layer by layer ────────────────────────────────────────────────────────────────────────────────────


async def test_all_is_well():
    async with two() as (ours, _):
        verdicts, failures = await ours.finds()
    assert not failures
    assert {check for check, verdict in verdicts.items() if verdict == "skipped"} == {"proxy"}
    assert set(verdicts.values()) == {"ok", "skipped"}


async def test_a_stranger():
    async with two() as (ours, _):
        del ours.addresses["right"]
        await fails_at(ours, "peer", "stranger")


@pytest.mark.parametrize(
    ("address", "layer", "code"),
    [
        ("not an address", "peer", "bad-address"),
        ("nowhere.invalid:7443", "name", "name-unknown"),
        ("127.0.0.1:1", "tcp", "peer-unreachable"),
    ],
)
async def test_a_wrong_address(address, layer, code):
    async with two() as (ours, _):
        ours.addresses["right"] = address
        await fails_at(ours, layer, code)


async def test_a_peer_that_is_down():
    async with Site("left", ["right"]) as ours:
        async with Site("right", ["left"]) as theirs:
            ours.addresses["right"] = theirs.address
        await fails_at(ours, "tcp", "peer-unreachable")


async def test_a_port_that_speaks_no_tls():
    async def chatter(_reader, writer):
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    async with server, two() as (ours, _):
        host, port = server.sockets[0].getsockname()
        ours.addresses["right"] = f"{host}:{port}"
        await fails_at(ours, "tls", "tls-failed")


async def test_a_port_that_is_silent():
    async def silence(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    async with two(left={"patience": 0.3}) as (ours, _):
        host, port = server.sockets[0].getsockname()
        ours.addresses["right"] = f"{host}:{port}"
        await fails_at(ours, "tls", "handshake-timeout")
        server.close()


async def test_a_certificate_that_we_did_not_pin():
    async with two() as (ours, _):
        ours.pins["right"] = PeerPin("right", create_identity("right").certificate_pem)
        await fails_at(ours, "their-certificate", "certificate-not-pinned")


async def test_a_peer_that_does_not_know_us():
    async with Site("right", ["somebody"]) as theirs, Site("left", ["right"]) as ours:
        ours.addresses["right"] = theirs.address
        await fails_at(ours, "our-certificate", "certificate-unknown-to-peer")


async def test_a_proxy_that_does_not_answer():
    async with two(left={"proxies": Proxies("127.0.0.1", 1)}) as (ours, _):
        ours.addresses["right"] = "parley.right.example:7443"
        await fails_at(ours, "proxy", "proxy-unreachable")


async def test_other_rules_of_the_link():
    async def refuse(_peer, _path, transport):
        await transport.recv()
        transport.wire.refuse("version-mismatch", "speaks version 1 of the link, we 99")

    pins = {"left": pin_of("left")}
    async with (
        PeerListener("127.0.0.1", 0, identity_of("right"), pins, refuse) as listener,
        Site("left", ["right"]) as ours,
    ):
        ours.addresses["right"] = listener.address
        verdicts, (failure,) = await ours.finds()
    assert failure.check == "link", failure
    assert all(verdicts[each] in {"ok", "skipped"} for each in DIALLED)


async def test_a_release_that_answers_no_examination():
    async def hang_up(_peer, _path, transport):
        await transport.close()

    async with Linked("right", ["left"], hang_up) as theirs, Site("left", ["right"]) as ours:
        ours.addresses["right"] = theirs.address
        _, (failure,) = await ours.finds()
    assert failure.check == "conversation"


async def test_a_peer_that_only_dials_out_is_examined_over_its_link():
    async with two(meet=False) as (ours, theirs):
        theirs.addresses["left"] = ours.address
        await theirs.finds("left")
        verdicts, failures = await ours.finds()
    assert not failures
    assert all(verdicts[each] == "skipped" for each in DIALLED)
    assert (verdicts["link"], verdicts["conversation"]) == ("ok", "ok")


async def test_an_address_that_fails_is_a_warning_while_the_peer_has_dialled_us():
    async with two(meet=False) as (ours, theirs):
        theirs.addresses["left"] = ours.address
        await theirs.finds("left")
        ours.addresses["right"] = "127.0.0.1:1"
        verdicts, failures = await ours.finds()
    assert not failures
    assert verdicts["tcp"] == "warning"
    assert verdicts["conversation"] == "ok"


async def test_the_peer_says_whether_it_comes_through_when_it_dials_us():
    async with two(right={"patience": 0.5}) as (ours, theirs):
        theirs.addresses["left"] = ""
        verdicts, _ = await ours.finds()
        assert verdicts["way-back"] == "skipped"
        for address, why in (("127.0.0.1:1", "peer-unreachable"), ("nowhere.invalid:1", "name-unknown")):
            theirs.addresses["left"] = address
            verdicts, failures = await ours.finds()
            assert not failures
            assert verdicts["way-back"] == "warning"
            assert why in theirs.log[-1]


async def test_a_caller_cannot_look_around_in_our_network():
    """Whatever is at the address that it announces, the answer is the same."""

    async def chatter(_reader, writer):
        writer.close()

    server = await asyncio.start_server(chatter, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    answers = set()
    async with server, two(right={"patience": 0.5}) as (_, theirs):
        for address in ("127.0.0.1:1", f"{host}:{port}", "nowhere.invalid:1"):
            theirs.addresses["left"] = address
            answers.add(await theirs.examiner._way_back("left"))
    assert answers == {"not-reached"}


@pytest.mark.parametrize(
    ("ahead", "verdict"),
    [(0, "ok"), (60, "warning"), (-60, "warning"), (3600, "failure"), (-3600, "failure")],
)
async def test_a_clock_that_is_off(ahead, verdict):
    async with two(right={"clock": lambda: time.time() + ahead}) as (ours, _):
        verdicts, _ = await ours.finds()
        assert verdicts["clock"] == verdict
        (alone,) = await ours.examiner.report("")
        assert (alone.check, alone.verdict) == ("clock", verdict)


async def test_a_clock_without_peers_is_not_compared():
    async with Site("left", []) as ours:
        (alone,) = await ours.examiner.report("")
    assert alone.verdict == "skipped"


# ── what must fit ─────────────────────────────────────────────────────────────────────────────────────


def test_the_time_that_a_message_takes_is_no_difference_of_clocks():
    slow = Compared(HERE, shown(HERE.clock + 20), HERE.clock + 40, "reached")
    assert (slow.ahead, slow.uncertain) == (0, 20)
    assert clocks("right", CLOCK + 1, 2).verdict == "ok"
    assert clocks("right", CLOCK + 1, 0).verdict == "warning"
    assert clocks("right", -CLOCK_FAILS - 1, 0).verdict == "failure"


def test_another_release_is_a_warning():
    assert releases("right", "0.1.0", "0.1.0").verdict == "ok"
    finding = releases("right", "0.1.0", "0.2.0")
    assert finding.verdict == "warning"
    assert "same release" in finding.remedy


@pytest.mark.parametrize(
    ("ours", "theirs", "verdict"),
    [
        (("", 0), ("", 0), "skipped"),
        (("ab", 5), ("ab", 7), "ok"),
        (("ab", 5), ("ab", 7000), "warning"),
        (("ab", 5), ("", 0), "warning"),
        (("ab", 5), ("cd", 5), "failure"),
    ],
)
def test_one_ledger_at_near_heights(ours, theirs, verdict):
    ours, theirs = (About("0.1.0", 1.0, *each) for each in (ours, theirs))
    assert ledgers("right", ours, theirs).verdict == verdict


def test_nobody_can_dial_a_party_that_is_not_running():
    assert way_back("right", "not-reached", listening=False).verdict == "skipped"
    assert way_back("right", "not-reached", listening=True).verdict == "warning"


# ── the conversation ──────────────────────────────────────────────────────────────────────────────────


async def caller(channel):
    async with channel:
        return await call(channel, lambda: HERE)


async def called(channel):
    async def reached():
        return "reached"

    async with channel:
        return await be_called(channel, lambda: HERE, reached)


async def test_nobody_is_fooled_hung_or_surprised():
    outcomes = await sweep(cases(STEPS), STEPS, {CALLER: caller, CALLED: called})
    bad = {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert not bad


@pytest.mark.parametrize(
    "about",
    [
        ["About", "0.1\n", 1.0, "", 0],
        ["About", "0.1.0", float("nan"), "", 0],
        ["About", "0.1.0", float("inf"), "", 0],
        ["About", "0.1.0", -1.0, "", 0],
        ["About", "0.1.0", 1.0, "\x1b[2J", 0],
        ["About", "0.1.0", 1.0, "ab\n", 0],
        ["About", "0.1.0", 1.0, "", -1],
    ],
)
async def test_what_is_no_plain_value_is_refused(about):
    near, far = memory_pair("left", "right")
    setting = Setting(STEPS, CALLED, "doctor", Trace(time.monotonic), 5.0)
    serving = asyncio.ensure_future(called(CheckedChannel(far, setting)))
    for number, message in enumerate((["Hello", "examination", 1, "doctor", CALLER], about)):
        await near.send(number.to_bytes(8, "big") + msgspec.msgpack.encode(message))
    with pytest.raises(PeerMisbehaved):
        await serving


# ── the table of layers ───────────────────────────────────────────────────────────────────────────────


def raised_in(folder):
    """Every code of an error that the source constructs: the first text after the error's own class."""
    named = {"PeerLost", "PeerMisbehaved", "PeerAborted", "PolicyRefused", "UsageError", "BudgetExhausted"}
    named |= {"ProtocolBug", "Broken", "Ending"}
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in named:
                for argument in node.args[: 2 if node.func.id == "Ending" else 1]:
                    yield from _texts(argument)


def _texts(argument):
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif isinstance(argument, ast.IfExp):
        yield from _texts(argument.body)
        yield from _texts(argument.orelse)


def test_every_error_of_the_network_has_its_layer():
    codes = set(raised_in(ROOT / "src" / "parley" / "net"))
    assert len(codes) > 50
    assert codes - set(LAYER_OF) == set()


def test_a_layer_is_never_below_what_was_found_well():
    assert layer_of("peer-unreachable", "peer") == "tcp"
    assert layer_of("peer-unreachable", "link") == "link"
    assert layer_of("nobody-knows", "conversation") == "conversation"
