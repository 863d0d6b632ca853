"""What members of bad faith do, in processes of their own: each function makes one runner a liar."""

from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.embedded import replication
from parley.ledger.merkle import Frontier
from parley.ledger.notes import SignedNote, cosign, parse_note
from parley.ledger.replica import Leaf, Replica

HONEST = 12
"""Leaves before the lie."""


def wrong_state_root(runner):
    """A sequencer that seals another state than the contract gives."""
    original = Checkpoint.seal.__func__

    def seal(kind, origin, size, root, state_root):
        wrong = bytes([state_root[0] ^ 1]) + state_root[1:] if size > HONEST else state_root
        return original(kind, origin, size, root, wrong)

    Checkpoint.seal = classmethod(seal)
    runner.say("lies about the state")


def withhold(runner):
    """A sequencer that loses what the operator submits, whoever offers it."""
    ordering = runner.member._ordering
    original = ordering._offer

    async def offer(channel, data, replies):
        if b'"sender":"operator"' not in data:
            await original(channel, data, replies)

    ordering._offer = offer


def fork(runner):
    """A sequencer that shows the regulator another history, each block a second later, and signs both."""
    other, answering, speaking = {}, runner.answer, runner.speaking

    async def answer(peer, path, transport):
        if peer != "regulator" or path == "/replication":
            await answering(peer, path, transport)

    def deceiving(transport, table, role):
        honest = speaking(transport, table, role)
        deceived = transport.peer == "regulator" and role == replication.SEQUENCER
        return _Deceiving(honest, runner, other) if deceived else honest

    runner.answer, runner.speaking = answer, deceiving


class _Deceiving:
    def __init__(self, context, runner, other):
        self.context, self.runner, self.other = context, runner, other

    async def __aenter__(self):
        channel = await self.context.__aenter__()
        send, recv = channel.send, channel.recv

        async def sending(message):
            if isinstance(message, replication.Block):
                message = self.deceived(message)
            if not (isinstance(message, replication.Sealed) and message.note):
                await send(message)

        async def receiving(*kinds):
            while True:
                message = await recv(*kinds)
                if not isinstance(message, replication.Cosigned):
                    return message

        channel.send, channel.recv = sending, receiving
        return channel

    async def __aexit__(self, *error):
        return await self.context.__aexit__(*error)

    def deceived(self, block):
        replica = self.other.setdefault("replica", Replica({}, Frontier()))
        if not block.first:
            replica.adopt(replica.execute(block.leaves))
            return block
        envelopes = [Leaf.decoded(leaf) for leaf in block.leaves]
        late = 1 if block.first > HONEST else 0
        executed, _ = replica.prepare([one.signed for one in envelopes], envelopes[0].time + late)
        replica.adopt(executed)
        origin = parse_note(block.note).text.split("\n")[0]
        head = Checkpoint.seal(origin, executed.size, executed.root, executed.state_root)
        note = head.sign(self.runner.log._key)
        return replication.Block(block.first, executed.leaves, note.encoded())


def equivocate(runner):
    """A follower that signs, beside the log it executed, another of the same size."""
    log = runner.log
    original = log.cosign

    def signed(time):
        note = original(time)
        if log.size <= HONEST:
            return note
        head = Checkpoint.parse(note.text)
        text = Checkpoint.seal(head.origin, head.size, bytes(32), head.state_root).text
        return SignedNote(text, (cosign(log.name, text, log._key, time),))

    log.cosign = signed


def two_faced(log, junk=()):
    """A member on CometBFT that shows another log than it has executed, signed with its key."""
    honest = log.note

    def note(size):
        head = Checkpoint.parse(honest(size).text)
        other = Checkpoint.seal(head.origin, head.size, bytes(32), head.state_root)
        own = cosign(log.name, other.text, log._keys[0], 1_790_000_000)
        return other.sign(log._keys[0]).with_signatures([own, *junk])

    log.note = note
