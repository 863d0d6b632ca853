"""A small complete protocol for tests: left asks for n blocks, right sends them and then their digest.

Every field is checked by the receiver, so a change on the way is noticed or harmless.
"""

import hashlib

from parley.core.conversation import Message, Repeat, Step, steps

MOST = 64


class Ask(Message, frozen=True):
    number: int


class Block(Message, frozen=True):
    index: int
    data: bytes


class Done(Message, frozen=True):
    digest: bytes


STEPS = steps(
    "echo", 1, Step("left", "right", Ask), Repeat(Step("right", "left", Block)), Step("right", "left", Done)
)


def block(index, size=32):
    return bytes([index % 251]) * size


async def ask(channel, number=3, size=32):
    async with channel:
        await channel.send(Ask(number))
        blocks = []
        digest = hashlib.sha256()
        for index in range(number):
            message = await channel.recv(Block)
            if message.index != index or len(message.data) != size:
                raise channel.fault("bad-block", f"sent block {message.index} of {len(message.data)} bytes")
            digest.update(message.data)
            blocks.append(message.data)
        done = await channel.recv(Done)
        if done.digest != digest.digest():
            raise channel.fault("bad-digest", "sent a digest that does not fit its blocks")
        return blocks


async def answer(channel, size=32):
    async with channel:
        number = (await channel.recv(Ask)).number
        if not 0 <= number <= MOST:
            raise channel.fault("bad-number", f"asked for {number} blocks")
        digest = hashlib.sha256()
        for index in range(number):
            digest.update(block(index, size))
            await channel.send(Block(index, block(index, size)))
        await channel.send(Done(digest.digest()))
        return number
