"""Arrays inside messages: what is packed is unpacked, and anything else is the peer's fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.core.errors import PeerMisbehaved
from parley.protocols.payload import Stream, array_of, bytes_of, pack_bits, unpack_bits


class Blames:
    """The only part of a channel that decoding needs."""

    def fault(self, code, what):
        return PeerMisbehaved(code, what, peer="p", remedy="none")


CHANNEL = Blames()


@given(st.lists(st.booleans(), max_size=70))
def test_bits_come_back(bits):
    packed = pack_bits(np.array(bits, dtype=np.bool_))
    assert len(packed) == (len(bits) + 7) // 8
    assert unpack_bits(CHANNEL, packed, len(bits), "bits").tolist() == bits


@given(st.lists(st.integers(-(2**31), 2**31 - 1), max_size=20))
def test_numbers_come_back_little_endian(numbers):
    data = bytes_of(np.array(numbers, dtype=">i4"))
    assert data == b"".join(number.to_bytes(4, "little", signed=True) for number in numbers)
    assert array_of(CHANNEL, data, np.int32, len(numbers), "numbers").tolist() == numbers


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\0"])
def test_bits_of_another_length_are_refused(data):
    with pytest.raises(PeerMisbehaved, match="wrong-length"):
        unpack_bits(CHANNEL, data, 9, "bits")


def test_a_bit_beyond_the_last_is_refused():
    with pytest.raises(PeerMisbehaved, match="wrong-filling"):
        unpack_bits(CHANNEL, b"\x08", 3, "bits")


def test_an_array_of_another_length_is_refused():
    with pytest.raises(PeerMisbehaved, match="12 were due"):
        array_of(CHANNEL, bytes(13), np.uint32, 3, "places")


def stream():
    return Stream(CHANNEL, 5, most=3, width=2, name="pairs")


def test_a_stream_ends_with_the_rows_announced():
    pairs = stream()
    assert pairs.accept(0, b"aabbcc").tolist() == [[97, 97], [98, 98], [99, 99]]
    assert not pairs.complete
    assert pairs.accept(3, b"ddee").shape == (2, 2)
    assert pairs.complete


@pytest.mark.parametrize(
    ("first", "data", "code"),
    [
        (0, b"aa", "wrong-order"),
        (4, b"aa", "wrong-order"),
        (3, b"", "wrong-length"),
        (3, b"a", "wrong-length"),
        (3, b"aabbccdd", "wrong-length"),
        (3, b"aabbcc", "too-many-rows"),
    ],
)
def test_a_block_that_does_not_continue_is_refused(first, data, code):
    pairs = stream()
    pairs.accept(0, b"aabbcc")
    with pytest.raises(PeerMisbehaved, match=code):
        pairs.accept(first, data)
    assert pairs.done == 3
