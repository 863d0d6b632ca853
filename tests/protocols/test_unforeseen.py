"""What nobody foresaw stays at home: a peer hears a fixed text, whatever an exception's own text says."""

import ast
import asyncio
import importlib
import pkgutil
import time

import pytest

import parley.ledger.engines
import parley.protocols
from parley.core.conversation import Steps
from parley.core.errors import ParleyError, PeerAborted, ProtocolBug
from parley.core.trace import Trace
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party.failures import known, raised, told

from tests import error_codes
from tests.adversary import test_alignment_adversary, test_boosting_adversary
from tests.error_codes import KINDS

SECRET = "/home/bank/accounts.csv: row 17, '4111-1111'"
SAID = "an internal error; the details are in our own log"


def tables():
    """Every conversation that there is."""
    for package in (parley.protocols, parley.ledger.engines):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for value in vars(importlib.import_module(found.name)).values():
                if isinstance(value, Steps):
                    yield value


TABLES = {table.protocol: table for table in tables()}


class Tapped:
    """A transport that remembers what was sent over it."""

    def __init__(self, inner):
        self._inner = inner
        self.sent = []

    @property
    def peer(self):
        return self._inner.peer

    async def send(self, frame):
        self.sent.append(bytes(frame))
        await self._inner.send(frame)

    async def recv(self):
        return await self._inner.recv()

    async def close(self):
        await self._inner.close()


class Breaking(CheckedChannel):
    """A party's end at which the ``left``-th computation from now on fails in a way that nobody foresaw."""

    left = 1

    async def compute(self, what, function, *arguments):
        self.left -= 1
        return await super().compute(what, function if self.left else failing, *arguments)


def failing(*_arguments):
    raise OSError(2, SECRET)


async def directly(_channel):
    failing()


async def in_a_group(_channel):
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(failing))


async def in_a_thread(channel):
    await channel.compute("work", failing)


async def from_a_worker(_channel):
    """As `Worker` raises what its process told of."""
    try:
        failing()
    except OSError as error:
        raise raised(told(error)) from None


async def by_our_own_wrapping(_channel):
    try:
        failing()
    except OSError as error:
        raise known(error) from error


def setting(steps, role):
    return Setting(steps, role, "run", Trace(time.monotonic), 5.0)


async def told_when(steps, victim, villain, act):
    """What the victim gets and what the villain sent when ``act`` happens in the villain's part."""
    left, right = memory_pair("left", "right")
    tapped = Tapped(left)

    async def listen():
        async with CheckedChannel(right, setting(steps, victim)) as channel:
            await channel.recv(*steps.messages())

    async def fail():
        async with CheckedChannel(tapped, setting(steps, villain)) as channel:
            await act(channel)

    heard, broke = await asyncio.gather(listen(), fail(), return_exceptions=True)
    assert isinstance(broke, Exception)
    return heard, b"".join(tapped.sent)


def assert_nothing_leaked(heard, sent):
    assert isinstance(heard, PeerAborted)
    assert heard.code == "internal"
    assert heard.cause == ProtocolBug.family
    for part in (SECRET, "4111", "accounts", "OSError", "Errno"):
        assert part.encode() not in sent
        assert part not in str(heard)


@pytest.mark.parametrize("act", [directly, in_a_group, in_a_thread, from_a_worker, by_our_own_wrapping])
async def test_in_every_conversation_and_role_a_peer_hears_a_fixed_text(act):
    assert {"alignment", "boosting", "control", "joining", "proposal"} <= set(TABLES)
    for steps in TABLES.values():
        first, second = steps.roles()
        for victim, villain in ((first, second), (second, first)):
            if steps.automaton(villain).allows(None, None):
                continue  # a role that sends nothing is not listened to
            heard, sent = await told_when(steps, victim, villain, act)
            assert_nothing_leaked(heard, sent)
            wrapped = act in (from_a_worker, by_our_own_wrapping)
            assert ("bug: internal" if wrapped else SAID).encode() in sent, (steps.protocol, villain)


CONVERSATIONS = {
    "alignment": (
        test_alignment_adversary.STEPS,
        lambda: {
            test_alignment_adversary.ACTIVE: test_alignment_adversary.lead,
            test_alignment_adversary.PASSIVE: test_alignment_adversary.follow,
        },
    ),
    "boosting": (test_boosting_adversary.STEPS, test_boosting_adversary.roles),
}


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
async def test_wherever_a_computation_of_a_role_breaks_its_peer_hears_a_fixed_text(conversation, nth):
    steps, roles = CONVERSATIONS[conversation]
    for villain in steps.roles():
        (victim,) = set(steps.roles()) - {villain}
        left, right = memory_pair("left", "right")
        tapped = Tapped(left)
        breaking = Breaking(tapped, setting(steps, villain))
        breaking.left = nth
        parts = roles()
        heard, broke = await asyncio.gather(
            parts[victim](CheckedChannel(right, setting(steps, victim))),
            parts[villain](breaking),
            return_exceptions=True,
        )
        assert SECRET in repr(broke)
        assert_nothing_leaked(heard, b"".join(tapped.sent))


def test_what_a_worker_tells_keeps_an_exceptions_text_for_our_own_log():
    try:
        failing()
    except OSError as error:
        said = told(error)
    assert SECRET in said.what
    assert said.public == "bug: internal"
    assert raised(said).public == "bug: internal"


# ── the same, over the source ─────────────────────────────────────────────────────────────────────────

SHOWN = {"public", "code", "family", "cause"}
"""What of an error of ours may cross to a peer."""
OURS = {"Broken"}
"""What is caught to be shown: its text is looked at where it is raised."""
TO_OUR_OWN = {
    "party/counter.py": "our own command line",
    "party/service.py": "our own command line",
    "party/worker.py": "the party, from its own worker",
    "serving/desk.py": "our own programs",
    "serving/http/application.py": "clients with a key; of what nobody foresaw they hear a fixed text",
}
"""Files that send an error's text to ourselves, and to whom."""


def foreign(module, node):
    """Names in a function that hold exceptions, or what was made of one."""
    function = next(module.above(node, ast.FunctionDef, ast.AsyncFunctionDef), module.tree)
    names = {
        each.name
        for each in ast.walk(function)
        if isinstance(each, ast.ExceptHandler) and each.name and ast.unparse(each.type) not in OURS
    }
    if function is not module.tree:
        arguments = [*function.args.args, *function.args.kwonlyargs]
        names |= {each.arg for each in arguments if each.annotation and holds_an_error(each.annotation)}
    while (
        made := {
            target.id
            for each in ast.walk(function)
            if isinstance(each, ast.Assign) and mentions(each.value, names)
            for target in each.targets
            if isinstance(target, ast.Name)
        }
        - names
    ):
        names |= made
    return names


def holds_an_error(annotation):
    said = ast.unparse(annotation)
    return "Exception" in said or said.endswith("Error") or any(kind in said for kind in KINDS)


def mentions(expression, names):
    """Whether an expression has more of an exception in it than what may be shown."""
    shown = {
        id(each.value)
        for each in ast.walk(expression)
        if isinstance(each, ast.Attribute) and each.attr in SHOWN
    } | {
        id(each.args[0])
        for each in ast.walk(expression)
        if isinstance(each, ast.Call) and ast.unparse(each.func) == "isinstance"
    }
    return any(
        isinstance(each, ast.Name) and each.id in names and id(each) not in shown
        for each in ast.walk(expression)
    )


def crossing(module):
    """Every expression whose value may cross to a peer, with where it stands."""
    for name, call in module.calls:
        for word in call.keywords:
            if word.arg == "public":
                yield call, word.value
        if name == "Abort":
            yield from ((call, argument) for argument in call.args)
        if name == "Broken" or (name == "refuse" and isinstance(call.func, ast.Attribute)):
            yield from ((call, argument) for argument in call.args)
        if name == "_fault":
            yield call, call.args[2]
        if name in ("send", "transact", "demand") and module.name not in TO_OUR_OWN:
            yield from ((call, argument) for argument in call.args)


def test_nothing_that_crosses_is_made_of_an_exception():
    found, looked = [], 0
    for module in error_codes.modules().values():
        for call, expression in crossing(module):
            looked += 1
            if mentions(expression, foreign(module, call)):
                found.append(f"{module.name}:{call.lineno}: {ast.unparse(expression)}")
    assert looked > 100
    assert found == []


def test_the_check_above_sees_an_exception(tmp_path, monkeypatch):
    path = tmp_path / "leaky.py"
    path.write_text(
        "def f():\n"
        "    try:\n        g()\n"
        "    except OSError as error:\n"
        "        why = str(error)\n"
        "        raise UsageError('a', 'b', remedy='c', public=f'it is {why}') from error\n"
    )
    monkeypatch.setattr(error_codes, "SOURCE", tmp_path)
    module = error_codes.Module(path)
    ((call, expression),) = crossing(module)
    assert mentions(expression, foreign(module, call))


def test_by_default_a_peer_hears_family_and_code_only():
    for kind in {kind for kind in KINDS.values() if issubclass(kind, ParleyError)}:
        try:
            error = kind("a-code", SECRET, remedy=SECRET)
        except TypeError:
            error = kind("a-code", SECRET, remedy=SECRET, peer="operator")
        assert SECRET not in error.public
        assert "a-code" in error.public
