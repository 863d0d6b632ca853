"""Arrays inside messages: how they are laid out, and the checks due on their arrival.

Every array travels as its little-endian bytes without a header; the receiver knows type and count
from the protocol and refuses anything else.
"""

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from parley.core.conversation import Channel

S = TypeVar("S", bound=np.generic)


def array_of(channel: Channel, data: bytes, dtype: type[S], count: int, name: str) -> npt.NDArray[S]:
    """The ``count`` values of ``dtype`` in ``data``, a read-only view.

    Raises:
        PeerMisbehaved: ``data`` has another length.

    """
    layout = np.dtype(dtype).newbyteorder("<")
    expected = count * layout.itemsize
    if len(data) != expected:
        raise channel.fault(
            "wrong-length",
            f"sent {len(data)} bytes of {name} where {expected} were due ({count} × {layout.name})",
        )
    return np.frombuffer(data, dtype=layout).astype(dtype, copy=False)


def bytes_of(array: npt.NDArray[S]) -> bytes:
    """What `array_of` reads: the values in order, little-endian."""
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def pack_bits(bits: npt.NDArray[np.bool_]) -> bytes:
    """Eight bits to a byte, the first in the lowest place; the last byte is filled with zeros."""
    return np.packbits(bits, bitorder="little").tobytes()


def unpack_bits(channel: Channel, data: bytes, count: int, name: str) -> npt.NDArray[np.bool_]:
    """The ``count`` bits of ``data``.

    Raises:
        PeerMisbehaved: ``data`` has another length, or a filling bit is set.

    """
    packed = array_of(channel, data, np.uint8, (count + 7) // 8, name)
    bits = np.unpackbits(packed, bitorder="little")
    if bits[count:].any():
        raise channel.fault("wrong-filling", f"set a bit of {name} beyond the {count} that were due")
    return bits[:count].astype(np.bool_)


class Stream:
    """An array that arrives in blocks: each block must begin where the one before ended.

    Args:
        channel: where the blocks come from.
        total: rows announced.
        most: rows a block may have at most.
        width: bytes of one row.
        name: what the rows are called in an error.

    """

    def __init__(self, channel: Channel, total: int, *, most: int, width: int, name: str) -> None:
        self.done = 0
        self.total = total
        self._channel = channel
        self._most = most
        self._width = width
        self._name = name

    @property
    def complete(self) -> bool:
        """Whether every announced row has come."""
        return self.done == self.total

    def accept(self, first: int, data: bytes) -> npt.NDArray[np.uint8]:
        """The rows of the next block, uint8 [rows, width]; moves ``done`` past them.

        Raises:
            PeerMisbehaved: the block is out of order, empty, too long, cut inside a row, or goes past
                the rows announced.

        """
        rows, rest = divmod(len(data), self._width)
        if first != self.done:
            raise self._channel.fault(
                "wrong-order", f"sent {self._name} from row {first} where row {self.done} was due"
            )
        if rest or not 1 <= rows <= self._most:
            raise self._channel.fault(
                "wrong-length",
                f"sent {len(data)} bytes of {self._name} in one block where 1 to {self._most} rows of "
                f"{self._width} bytes were due",
            )
        if first + rows > self.total:
            raise self._channel.fault(
                "too-many-rows", f"sent {first + rows} rows of {self._name} after announcing {self.total}"
            )
        self.done += rows
        return array_of(self._channel, data, np.uint8, len(data), self._name).reshape(rows, self._width)
