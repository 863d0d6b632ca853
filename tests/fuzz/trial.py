"""Giving inputs to a decoder, one at a time, and saying what must not happen."""

import asyncio
import inspect
import signal
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

from parley.core.errors import ProtocolBug

from tests.fuzz.mutator import Mutator

PROCESSOR_SECONDS = 20
"""That one input may take."""
ROOM = 4 << 20
"""Bytes that one input may take, whatever it says about itself; and `PER_BYTE` more for each of its own."""
PER_BYTE = 160


class Failed(AssertionError):
    """An input that did what no input may do."""


class Trial:
    """A target that inputs are tried on; use it as a context.

    Args:
        target: what is fuzzed.
        folder: an empty one for it.
        kept: a file that holds the input that is being tried, for who dies of it; none for no file.
    """

    def __init__(self, target, folder, kept=None):
        self.target = target
        self.fuzzed = target.make(folder)
        self._kept = kept

    def __enter__(self):
        self._runner = asyncio.Runner()
        self._loop = self._runner.get_loop()
        return self

    def __exit__(self, *error):
        self._runner.close()

    def take(self, data):
        """Decode a right input; whatever is raised goes up."""
        found = self.fuzzed.decode(data)
        return self._loop.run_until_complete(found) if inspect.isawaitable(found) else found

    def withstand(self, data):
        """Try any input.

        Raises:
            Failed: it brought out an error that is none of ours, or took too much memory or time.
        """
        if self._kept is not None:
            Path(self._kept).write_bytes(data)
        before = tracemalloc.get_traced_memory()[0]
        if tracemalloc.is_tracing():
            tracemalloc.reset_peak()
        try:
            with _bounded():
                self.take(data)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            if not isinstance(error, self.fuzzed.refusals) or isinstance(error, ProtocolBug):
                raise self._failed(data, f"{type(error).__name__}: {str(error)[:300]}") from error
        used = tracemalloc.get_traced_memory()[1] - before
        if used > ROOM + PER_BYTE * len(data):
            raise self._failed(data, f"{used} bytes of memory for {len(data)} bytes of input")

    def _failed(self, data, why):
        return Failed(f"{self.target.name}: {why}; the input in hexadecimal: {data.hex()}")


def inputs(target, fuzzed, seed, count):
    """The drawn inputs of a target; the same again for the same seed."""
    mutator = Mutator(f"{seed}/{target.name}")
    for _ in range(count):
        yield mutator.draw(fuzzed.seeds, fuzzed.tree)


@contextmanager
def measured():
    """Python's memory is counted meanwhile."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


@contextmanager
def _bounded():
    """Ended by an error when it takes too long on the processor."""
    before = signal.signal(signal.SIGVTALRM, _too_long)
    signal.setitimer(signal.ITIMER_VIRTUAL, PROCESSOR_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _too_long(_signal, _frame):
    raise TimeoutError(f"more than {PROCESSOR_SECONDS} s on the processor")
