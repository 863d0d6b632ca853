"""What a run tells its own party at the end: figures of the model, and where time and bytes went."""

from collections.abc import Callable

import msgspec

from parley.core.trace import Event, Received, Sent, StepBegan, Worked
from parley.learn.shares import Feature


class StepCost(msgspec.Struct):
    """Time and traffic of one step at one party.

    Attributes:
        step: its name.
        seconds: wall time.
        crypto: seconds of computation; may exceed the wall time where work overlaps.
        network: seconds spent handing messages over.
        waiting: seconds waiting for a peer's messages.
        sent: bytes.
        received: bytes.
    """

    step: str
    seconds: float = 0.0
    crypto: float = 0.0
    network: float = 0.0
    waiting: float = 0.0
    sent: int = 0
    received: int = 0


class Tally:
    """A sink that adds up costs by step.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began = 0.0
        self._steps: list[StepCost] = []

    def __call__(self, event: Event) -> None:
        """Account one event to the current step."""
        if isinstance(event, StepBegan):
            self._close()
            self._steps.append(StepCost(event.step))
            self._began = self._clock()
        if not self._steps:
            return
        step = self._steps[-1]
        match event:
            case Worked():
                step.crypto += event.seconds
            case Sent():
                step.network += event.seconds
                step.sent += event.size
            case Received():
                step.waiting += event.seconds
                step.received += event.size
            case _:
                pass

    def costs(self) -> tuple[StepCost, ...]:
        """The steps so far."""
        self._close()
        return tuple(self._steps)

    def _close(self) -> None:
        if self._steps:
            now = self._clock()
            self._steps[-1].seconds += now - self._began
            self._began = now


class Learnt(msgspec.Struct, frozen=True):
    """What a party learnt about the others beyond the model, in words with numbers."""

    party: str
    facts: tuple[str, ...]


class Quality(msgspec.Struct, frozen=True):
    """A measure of one model on the held-out rows; no value where the rows do not allow it."""

    model: str
    metric: str
    value: float | None


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run, as its active party sees it.

    Attributes:
        run: identifier; the model has the same.
        plan: digest of the plan.
        rows: ids entered, by party.
        common: ids in common.
        training: rows trained on.
        validation: rows early stopping watched.
        test: rows held out.
        rounds: rounds the model keeps.
        quality: on the held-out rows, of this party alone and of the joint model.
        importances: columns by gain.
        costs: time and traffic by step, at this party.
        learnt: what each party learnt.
        warnings: findings about our own table.
    """

    run: str
    plan: str
    rows: dict[str, int]
    common: int
    training: int
    validation: int
    test: int
    rounds: int
    quality: tuple[Quality, ...]
    importances: tuple[Feature, ...]
    costs: tuple[StepCost, ...]
    learnt: tuple[Learnt, ...]
    warnings: tuple[str, ...]
