"""What is fuzzed: something that reads bytes, inputs it takes, and the errors by which it refuses others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parley.core.errors import ParleyError

from tests.fuzz.mutator import Tree


@dataclass(frozen=True)
class Fuzzed:
    """One decoder, ready.

    Attributes:
        seeds: inputs that it takes.
        decode: gives a value, or raises one of ``refusals``; may be a coroutine function.
        refusals: errors that say what is wrong with the input. Nothing else may come out.
        tree: how the input is read and written as a value (`mutator.JSON`); none if it is only bytes.
    """

    seeds: Sequence[bytes]
    decode: Callable[[bytes], Any]
    refusals: tuple[type[BaseException], ...] = (ParleyError,)
    tree: Tree | None = None


@dataclass(frozen=True)
class Target:
    """A decoder by name.

    Attributes:
        name: for people, and for the chance that its inputs are drawn by.
        make: given an empty folder, the decoder.
        slow: inputs take milliseconds, so fewer are drawn.
    """

    name: str
    make: Callable[[Path], Fuzzed] = field(repr=False)
    slow: bool = False
