"""A party of joint boosting that sends what it should not, for tests.

It runs the honest role, but its messages are changed on their way out. The tests know all seeds, so a
cheat may use what only the other side's key can make.
"""

import msgspec
import numpy as np

from parley.core.errors import PeerAborted, PeerMisbehaved
from parley.protocols.boosting import active, passive

from tests.joint import block, problem, train

ROWS = 90
POINT = 32
BAD_POINT = b"\xff" * POINT


class Cheat:
    """A channel whose messages of one kind are changed as they leave: the ``number``-th, from 0."""

    def __init__(self, channel, kind, change, number=0):
        self._channel, self._kind, self._change, self._number = channel, kind, change, number
        self._seen = 0
        self.changed = False

    def __getattr__(self, name):
        return getattr(self._channel, name)

    async def send(self, message):
        if isinstance(message, self._kind):
            if self._seen == self._number:
                message = self._change(message)
                self.changed = True
            self._seen += 1
        await self._channel.send(message)


def tables(minimum=6):
    """Three parties; the label follows the first passive one's columns, so its columns are split on."""
    random = np.random.default_rng(3)
    blocks = [block(random, ROWS, 2), *(block(random, ROWS, 3, minimum=minimum) for _ in range(2))]
    for each in blocks[1:]:
        each.codes[1] = random.integers(0, 4, ROWS)  # codes 4 and above are there but empty
        each.bin_counts[1] = 9
    label = (
        blocks[1].codes[0] + blocks[2].codes[0] + random.normal(size=ROWS)
        > np.median(blocks[1].codes[0] + blocks[2].codes[0])
    ).astype(float)
    return blocks, label


def settle(results, victim, cheat, code):
    """The victim names the cheat; everyone else hears no more than the code."""
    wrong = results[victim]
    assert isinstance(wrong, PeerMisbehaved), wrong
    assert wrong.code == code
    assert wrong.peer == f"p{cheat}"
    for index, result in enumerate(results):
        if index != victim:
            assert isinstance(result, PeerAborted), result
            assert result.code == code
            private = wrong.what.removeprefix(wrong.peer).strip()
            assert private not in str(result), "what the victim found is its own affair"
            assert result.what.endswith((f"peer-misbehaved: {code}", f"another party stopped: {code}"))


async def cheat_passive(kind, change, code, *, number=0, minimum=6, parameters=None):
    """Party 1 cheats the active party."""
    blocks, label = tables(minimum)
    cheats = []

    async def cheating(channel, *rest):
        cheats.append(Cheat(channel, kind, change, number))
        return await passive(cheats[0], *rest)

    task = problem(label, max_depth=3, min_child_samples=3, **(parameters or {}))
    results = await train(task, blocks, following={1: cheating})
    assert cheats[0].changed
    settle(results, 0, 1, code)


async def cheat_active(kind, change, code, *, number=0, parameters=None, ends=False):
    """The active party cheats party 1; ``ends``: it has nothing more to hear, so it leaves content."""
    blocks, label = tables()
    cheats = []

    async def cheating(channels, *rest):
        cheats.append(Cheat(channels[0], kind, change, number))
        return await active([cheats[0], *channels[1:]], *rest)

    task = problem(label, max_depth=3, min_child_samples=3, **(parameters or {}))
    results = await train(task, blocks, leading=cheating)
    assert cheats[0].changed
    if ends:
        assert isinstance(results[1], PeerMisbehaved)
        assert results[1].code == code
        return
    settle(results, 1, 0, code)


def change(**fields):
    """A change that sets fields, or maps them where a function is given."""

    def changed(message):
        values = {
            name: value(getattr(message, name)) if callable(value) else value
            for name, value in fields.items()
        }
        return msgspec.structs.replace(message, **values)

    return changed


def cut(data):
    return data[:-1]


def longer(data):
    return data + b"\0"


def flip(bit):
    """Flip one bit of a packed array."""

    def flipped(data):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << (bit % 8)
        return bytes(changed)

    return flipped


def uint32(values):
    return np.asarray(values, dtype="<u4").tobytes()


def first_point(data):
    return BAD_POINT + data[POINT:]


def bits_of(change_one):
    return lambda left: (change_one(left[0]), *left[1:])
