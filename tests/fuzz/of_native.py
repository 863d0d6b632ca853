"""What the crate reads of a peer: points, ciphertexts, keys, masked rows and sums."""

from contextlib import suppress

import numpy as np

from parley import _native as native
from parley.core.errors import ParleyError, PeerMisbehaved
from parley.crypto.signatures import Claim, SigningKey, verify, verify_all
from parley.ledger.encoding import EncodingError, _check, _parse
from parley.protocols.asking import MAX_SPLITS, Ask, Directions, answer_of, tokens_of, width_of
from parley.protocols.boosting.messages import PublicKeyOffer
from parley.protocols.boosting.passive import _read_key
from parley.protocols.oblivious import BITS, POINT, ROW, SUMS, VALUE
from parley.protocols.payload import Stream, array_of, unpack_bits

from tests.fuzz.target import Fuzzed, Target

SEED = b"s" * 32
TAG, PAIR = b"t" * 32, b"p" * 32
REFUSALS = (ValueError, TypeError, MemoryError, ParleyError)
"""What the crate promises; ``DecodeError`` is a ``ValueError``."""


class Blames:
    """The only part of a channel that these need."""

    def fault(self, code, what):
        return PeerMisbehaved(code, what, peer="peer", remedy="none")


def rows(data, *shape):
    """As many whole rows as there are bytes for, uint8; the rest stays in a last dimension of its own."""
    size = int(np.prod(shape))
    whole = len(data) // size
    return np.frombuffer(data[: whole * size], np.uint8).reshape(whole, *shape)


def points(_folder):
    secret, public = native.SecretScalar.from_seed(SEED), native.SecretScalar.from_seed(TAG).public()

    def read(data):
        with suppress(ValueError):
            native.PublicKey.decode(data)
        _read_key(Blames(), PublicKeyOffer(data))
        return native.multiply(rows(data, POINT), secret, 1)

    return Fuzzed([public, public * 2, public * 9], read, REFUSALS)


def ciphertexts(_folder):
    key = native.SecretKey.from_seed(2, SEED)
    good = key.encrypt(np.arange(-4, 4, dtype=np.int32).reshape(4, 2), TAG, 0, 1)
    public = key.public()

    def read(data):
        block = rows(data, 3, POINT)
        kept = native.Ciphertexts(2, 4)
        with suppress(ValueError):
            key.decrypt(block, np.full((len(block), 2), 10, np.int64), 1)
        kept.append(block, 1)
        bins = np.arange(len(block), dtype=np.uint64).astype(np.uint8).reshape(1, -1) % 3
        subset = np.arange(len(block), dtype=np.uint32)
        sums = native.encrypted_histogram(kept, bins, np.array([3], np.uint32), subset, 1)
        return sums.rerandomised(public, PAIR, 0, 1)

    return Fuzzed([good.tobytes(), good[:1].tobytes()], read, REFUSALS)


def offers(_folder):
    """The keys of an alignment: 572 pairs of points."""
    taker = native.KeyTaker.from_seed(SEED, TAG)

    def read(data):
        given = rows(data, POINT)
        if len(given) == BITS * 2:
            given = given.reshape(BITS, 2, POINT)
        return native.KeyGiver.answer(given, native.SecretScalar.from_seed(PAIR), TAG, TAG).point

    return Fuzzed([taker.offers().tobytes()], read, REFUSALS)


def masked(_folder):
    """An alignment's masked rows, the point that opens the keys, and sums of rows, one after the other."""
    taker = native.KeyTaker.from_seed(SEED, TAG)
    giver = native.KeyGiver.answer(taker.offers(), native.SecretScalar.from_seed(PAIR), TAG, TAG)
    ids = b"person-1person-2"
    spans = np.array([[0, 8], [8, 16]], np.uint64)
    asker = native.AskerRows.build(ids, spans, PAIR, giver, SEED, 1)
    count = native.rows_of_ids(2)
    sent = asker.masked(0, count, 1)
    sums, values = asker.answer(TAG, 1)
    seed = giver.point + sums.tobytes() + values.tobytes() + sent.tobytes()

    def read(data):
        keys = native.KeyTaker.from_seed(SEED, TAG)
        evaluator = native.EvaluatorRows.expect(keys, data[:POINT], TAG, PAIR, 2)
        at = POINT + SUMS * ROW
        evaluator.take(0, rows(data[at + SUMS * VALUE :], ROW), 1)
        evaluator.agrees(TAG, rows(data[POINT:at], ROW), rows(data[at : at + SUMS * VALUE], VALUE), 1)
        return evaluator.digests(ids, spans, 1)

    return Fuzzed([seed], read, REFUSALS)


def arrays(_folder):
    """Arrays inside messages, with a count, a place and a width before them that the table cannot know."""

    def read(data):
        count, first = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4))
        body = data[8:]
        stream = Stream(Blames(), count, most=8192, width=1 + first % 100, name="rows")
        found = []
        for what in (
            lambda: array_of(Blames(), body, np.uint32, count, "numbers"),
            lambda: unpack_bits(Blames(), body, count, "bits"),
            lambda: stream.accept(first, body),
        ):
            try:
                found.append(what())
            except PeerMisbehaved:
                found.append(None)
        return found

    seeds = [
        bytes((0, 0, 0, 2, 0, 0, 0, 0)) + bytes(8),
        bytes((0, 0, 0, 9, 0, 0, 0, 0)) + b"\xff\x01",
        bytes((0, 0, 0, 9, 0, 0, 0, 0)) + bytes(9),
    ]
    return Fuzzed(seeds, read)


def asked(_folder):
    """An ask and the answer to it, behind what the two sides have agreed: splits, and how many tokens."""

    def read(data):
        splits, count, known = (int.from_bytes(data[at : at + 3], "big") for at in (0, 3, 6))
        body = data[9:]
        splits, bits = splits % (MAX_SPLITS + 1), known % 9
        found = []
        for what in (
            lambda: tokens_of(Blames(), Ask(0, body), 0, splits),
            lambda: answer_of(Blames(), Directions(0, body[:bits], body[bits:]), count % 65536, splits),
        ):
            try:
                found.append(what())
            except PeerMisbehaved:
                found.append(None)
        return found

    def told(splits, count, rows):
        known = (2**rows - 1).to_bytes((count + 7) // 8, "little")
        head = b"".join(each.to_bytes(3, "big") for each in (splits, count, len(known)))
        return head + known + bytes(rows * width_of(splits))

    return Fuzzed([told(13, 3, 2), told(16, 20, 5), told(0, 3, 3), told(8, 1, 0) + bytes(31)], read)


def claims(_folder):
    """A public key, a signature and the rest as the message: no verdict of OpenSSL's is ever another."""
    key = SigningKey.from_seed(SEED)

    def read(data):
        claim = Claim(data[:32], "parley/fuzz/v1", data[96:], data[32:96])
        (good,) = verify_all([claim])
        assert good == verify(*claim)
        return good

    texts = (b"", b"message" * 30)
    return Fuzzed([key.public + key.sign("parley/fuzz/v1", text) + text for text in texts], read)


def json_texts(_folder):
    """Text that shows that it is plain holds nothing outside the subset of the ledger's encoding."""

    def read(data):
        value = _parse(data)
        if native.plain_json(data):
            try:
                _check(value, 0)
            except EncodingError as error:
                raise AssertionError(data) from error
        return value

    return Fuzzed(
        [b'{"a":[1,-20,null],"b":"1e5","c":{"d":true}}', b"[[[999999999999999]]]"], read, (EncodingError,)
    )


TARGETS = (
    Target("points", points),
    Target("ciphertexts", ciphertexts),
    Target("offers of keys", offers, slow=True),
    Target("masked rows", masked, slow=True),
    Target("arrays", arrays),
    Target("asks and answers", asked),
    Target("claims of signatures", claims),
    Target("text of JSON", json_texts),
)
