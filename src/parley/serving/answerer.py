"""A worker of a passive party: a process of its own that answers for one model.

    python -m parley.serving.answerer SOCKET DOOR HOME MODEL

It reads our columns, and answers on the streams that our party opens: ``/KEY/enrolment/PEER`` and then
``/KEY/asking/PEER``, or ``/KEY/direct/PEER`` for a connection of the peer that our party hands over through
the door; that one lasts no longer than its stream. It hears the terms of the model on a stream of its own,
``/attend``.
"""

import asyncio
import os
import secrets
import socket
import sys
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from parley.core.errors import BudgetExhausted, ParleyError, PolicyRefused
from parley.core.log import Log, Record
from parley.core.trace import Trace
from parley.learn.forest import Tests
from parley.learn.shares import PassiveShare
from parley.net.certificates import Identity
from parley.net.channel import CheckedChannel, Setting
from parley.net.handover import UNWANTED, Reception
from parley.net.pipe import Pipe
from parley.net.streams import Stream
from parley.net.transport import Transport
from parley.net.websocket import PeerListener, PeerPin, WebSocketTransport
from parley.party.compose import log_of
from parley.party.failures import lines_of
from parley.party.subordinate import Passed, be_first_to_go, keep_within, leaving_with
from parley.party.upkeep import until_either
from parley.protocols import asking, enrolment
from parley.serving.answering import DIRECT, Direct, ended
from parley.serving.attendance import Attendance
from parley.serving.features.coded import Enrolled, Features
from parley.serving.features.opening import open_features
from parley.serving.meter import Meter, Slate
from parley.serving.roll import Roll
from parley.serving.subject import Subject
from parley.store.home import Home
from parley.store.predictions import FOLDER
from parley.store.runlog import encoded

PARTY: Final = "party"
ROLLS: Final = 8
"""Enrolments held; the one that was used longest ago goes when there is another."""
ENROLLING: Final = 2
"""Enrolments under way at the same time: each takes room for the whole table."""
_FRESH: Final = 60.0
"""Seconds for which the ids that were read for one enrolment serve for another, such as the next attempt of
an active party that did not wait for them."""
_ANSWERED: Final = "answered"
"""The file of what was answered for a model, see `meter`."""
_PATIENCE: Final = 30.0
"""Seconds for which the active party may say nothing."""
_AT_ONCE: Final = 512
"""Tokens that are answered without a thread of their own."""


class Answerer:
    """Answers for one model.

    Args:
        subject: share, table and rule.
        features: our columns.
        attendance: says the terms.
        reception: takes connections that are handed over.
        log: of the party.
    """

    def __init__(
        self, subject: Subject, features: Features, attendance: Attendance, reception: Reception, log: Log
    ) -> None:
        share = subject.share
        assert isinstance(share, PassiveShare)  # noqa: S101 (the party has looked)
        self._share = share
        self._subject = subject
        self._features = features
        self._attendance = attendance
        self._reception = reception
        self._log = log
        self._trace = Trace(time.perf_counter)
        self._tests = Tests.of(share.rules, [column.bins.bin_count for column in share.columns])
        slate = Slate(subject.home.path / FOLDER / share.model / _ANSWERED)
        self._meter = Meter(time.monotonic, time.time, slate)
        self._places = asyncio.Semaphore(ENROLLING)
        self._reading: asyncio.Task[Enrolled] | None = None
        self._rolls: OrderedDict[str, asyncio.Future[Roll]] = OrderedDict()
        self._loop = asyncio.get_running_loop()
        self._conversations: set[asyncio.Task[None]] = set()

    def arrived(self, path: str, stream: Stream) -> None:
        """Our party opened a stream for a peer."""
        _, key, protocol, peer = path.split("/")
        works = {"enrolment": self._enrol, "asking": self._answer, DIRECT: self._answer_directly}
        task = asyncio.create_task(self._held(works[protocol](key, Passed(stream, peer))))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _held(self, conversation: Coroutine[Any, Any, None]) -> None:
        try:
            await conversation
        except ParleyError as error:
            self._log.because(error).say(
                "info", f"a conversation about {self._share.model} ended: {error.what}"
            )
        except Exception as error:  # noqa: BLE001 (the others go on)
            self._log.say("error", f"answering for {self._share.model} failed: {lines_of(error)}")

    async def _enrol(self, key: str, transport: Passed) -> None:
        # the peer may ask before we have put our tokens in order: whoever asks waits for that
        roll = self._rolls[key] = self._loop.create_future()
        try:
            roll.set_result(await self._enrolment(key, transport))
        finally:
            if not roll.done():
                roll.cancel()
                self._rolls.pop(key, None)
        while len(self._rolls) > ROLLS:
            self._rolls.popitem(last=False)
        count = len(roll.result().rows)
        self._log(f"{transport.peer} can ask model {self._share.model} about {count:,} ids of ours")

    async def _enrolment(self, key: str, transport: Passed) -> Roll:
        subject = self._subject
        setting = Setting(enrolment.STEPS, enrolment.PASSIVE, key, self._trace, _PATIENCE)
        async with CheckedChannel(transport, setting) as channel, self._place(transport.peer):
            enrolled = await self._enrolled()
            options = enrolment.Options(
                self._share.model, subject.rule, secrets.token_bytes(32), subject.threads
            )
            tokens = await enrolment.passive(channel, enrolled.ids, options)
        return await asyncio.to_thread(Roll.of, tokens, enrolled)

    @asynccontextmanager
    async def _place(self, peer: str) -> AsyncIterator[None]:
        if self._places.locked():
            raise BudgetExhausted(
                "enrolling-already",
                f"{peer} enrols us for model {self._share.model} {ENROLLING} times at once already",
                remedy="nothing is to be done: it comes again",
                public="as many programs as can enrol for this model already; come again in some seconds",
            )
        async with self._places:
            yield

    async def _enrolled(self) -> Enrolled:
        """Our ids; read once for all who ask for them at about the same time."""
        reading = self._reading
        if reading is None:
            reading = self._reading = asyncio.create_task(self._features.enrol())
            reading.add_done_callback(self._was_read)
        return await asyncio.shield(reading)

    def _was_read(self, reading: "asyncio.Task[Enrolled]") -> None:
        well = not reading.cancelled() and reading.exception() is None
        self._loop.call_later(_FRESH if well else 0.0, self._forget)

    def _forget(self) -> None:
        self._reading = None

    async def _answer_directly(self, key: str, line: Passed) -> None:
        """Answer on a connection that our party hands over, for as long as the line to it lasts."""
        told = msgspec.msgpack.decode(await line.recv(), type=Direct)
        try:
            await until_either(self._hold(key, line.peer, told), ended(line))
        finally:
            await line.close()

    async def _hold(self, key: str, peer: str, told: Direct) -> None:
        wanted = f"/serving/{self._share.model}/{key}/asking"
        log = self._log.about(peer=peer)

        async def connected(who: str, path: str, transport: WebSocketTransport) -> None:
            if (who, path) != (peer, wanted):
                log.say("warning", f"{who} asked for {path[:80]!r} with a ticket of {peer}")
                return
            left = transport.proof.until - datetime.now(UTC)
            with suppress(TimeoutError):  # it comes again, with a new certificate
                async with asyncio.timeout(left.total_seconds()):
                    await self._held(self._answer(key, transport))

        def refused(address: str, why: str) -> None:
            log.say("warning", f"turned away {address} with a ticket of {peer}: {why}")

        try:
            async with asyncio.timeout(UNWANTED):
                newcomer = await self._reception.take(told.number)
        except TimeoutError:
            log.say("warning", f"a connection of {peer} was not handed over within {UNWANTED:g} s")
            return
        with newcomer:  # until asyncio has it, under the same descriptor
            identity = Identity.load(self._subject.home.identity_folder)
            pins = {peer: PeerPin(peer, told.certificate)}
            behind = PeerListener("", 0, identity, pins, connected, on_refused=refused)
            await behind.take_in(newcomer)

    async def _answer(self, key: str, transport: Transport) -> None:
        setting = Setting(asking.STEPS, asking.PASSIVE, key, self._trace, _PATIENCE)
        async with CheckedChannel(transport, setting) as channel:
            coming = self._rolls.get(key)
            if coming is None:
                raise PolicyRefused(
                    "not-enrolled",
                    f"{transport.peer} asks by tokens of an enrolment that is not held here",
                    remedy="nothing is to be done: it enrols us anew",
                    public="these tokens mean nothing here any more; enrol anew",
                )
            self._rolls.move_to_end(key)
            roll = await asyncio.shield(coming)
            rules = self._share.rules
            await asking.passive(
                channel, self._share.model, len(rules), lambda tokens: self._said(roll, tokens)
            )

    async def _said(self, roll: Roll, tokens: NDArray[np.uint8]) -> "asking.Answer | asking.Reason":
        """What is said to tokens."""
        refused = self._meter.asked(self._attendance.terms, len(tokens))
        if refused is not None:
            return refused
        few = len(tokens) <= _AT_ONCE  # a thread of their own would take longer than they do
        rows = roll.find(tokens) if few else await asyncio.to_thread(roll.find, tokens)
        present = np.flatnonzero(rows >= 0)
        coded = await roll.enrolled.of_rows(rows[present])
        known = np.zeros(len(tokens), dtype=np.bool_)
        known[present[coded.known]] = True
        arguments = coded.codes, np.arange(coded.codes.shape[1]), self._subject.threads
        tests = self._tests
        left = tests.directions(*arguments) if few else await asyncio.to_thread(tests.directions, *arguments)
        return asking.Answer(known, left)


def main() -> None:
    """Answer for the party at the other end of the socket."""
    number, door, home, model = sys.argv[1:]
    end, handed = socket.socket(fileno=int(number)), socket.socket(fileno=int(door))
    be_first_to_go()
    asyncio.run(_serve(end, handed, Home.open(Path(home)), model))


async def _serve(end: socket.socket, door: socket.socket, home: Home, model: str) -> None:
    keep_within(home.settings)
    log = log_of(home.settings, _printed if home.settings.log_format == "text" else _printed_as_json)
    answering: asyncio.Future[Answerer] = asyncio.get_running_loop().create_future()
    early: list[tuple[str, Stream]] = []

    def arrived(path: str, stream: Stream) -> None:
        if answering.done():
            answering.result().arrived(path, stream)
        else:
            early.append((path, stream))

    pipe = await Pipe.over(end, PARTY, 2, arrived)
    leaving = leaving_with(pipe)
    try:
        subject = await asyncio.to_thread(Subject.of, home, model)
        features = await open_features(subject.table, subject.share, subject.rule, log)
        async with Attendance(pipe.open("/attend"), model, Trace(time.perf_counter)) as attendance:
            answering.set_result(Answerer(subject, features, attendance, Reception(door), log))
            for path, stream in early:
                answering.result().arrived(path, stream)
            early.clear()
            why = await attendance.over()  # nothing is answered by terms that nobody renews
            log.because(why).say("warning", f"answers no more for model {model}: {why.what}")
    except ParleyError as error:
        log.because(error).say("error", f"cannot answer for model {model}: {error.what}")
    except Exception as error:  # noqa: BLE001 (told, and then there is no worker)
        log.say("error", f"cannot answer for model {model}: {lines_of(error)}")
    finally:
        leaving.cancel()
        os._exit(1)  # threads that still compute for nobody are not waited for


def _printed(record: Record) -> None:
    moment = datetime.fromisoformat(record.time).astimezone()
    sys.stdout.write(f"{moment:%H:%M:%S}  {record.text}\n")
    sys.stdout.flush()


def _printed_as_json(record: Record) -> None:
    sys.stdout.write(f"{encoded(record).decode()}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
