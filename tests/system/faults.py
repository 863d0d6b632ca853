"""What the suites of seeded faults share: what can happen to whom, when it must be said, the report.

`PARLEY_FAULTS` says how many faults are drawn (200), `PARLEY_FAULTS_SEED` from which seed on (1).
`PARLEY_SLACK` is seconds beyond the required ten for an overloaded machine (0). `PARLEY_FAULTS_REPORT` names
a file to which every run adds a line of JSON, also one that fails; `bench/faults.py` sums it up.
"""

import json
import os
import random
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

DRAWN = int(os.environ.get("PARLEY_FAULTS", "200"))
FIRST = int(os.environ.get("PARLEY_FAULTS_SEED", "1"))
REPORT = os.environ.get("PARLEY_FAULTS_REPORT", "")
SLACK = float(os.environ.get("PARLEY_SLACK", "0"))

REQUIRED = 10.0
"""Seconds from a fault within which everyone who stays up names it."""
SLOW_TO_HEAR = REQUIRED + SLACK

CLOCKS_APART = 0.1
GONE = (
    *("connection-closed", "connection-lost", "peer-restarted", "peer-silent", "party-stopped"),
    *("tls-failed", "peer-unreachable"),  # whether something between them still takes connections, or nobody
)
"""What a party says of another that is gone, or that it does not hear any more."""

PROCESS = ("kill", "hang", "stop")
LINK = ("cut", "half-open", "stall")
PASSING = ("flap", "slow")
"""What need be no reason to stand still: a link breaks again and again, is there again at once, and one end
may still hold the old connection; or it is slow."""
LASTING = ("hang", *LINK)
"""What is over after a while, and noticed only if it lasts."""

SLOW = 1_000_000.0
"""Bytes per second of a slow link."""


@dataclass(frozen=True)
class Fault:
    """What happens to whom, when, and how long it lasts in seconds.

    Attributes:
        kind: what happens.
        victim: to whom.
        moment: of the work, when.
        round: of a training, or chunk of a prediction, to wait for.
        late: seconds after the moment.
        lasts: seconds.
        first_back: who of several victims comes back first.
    """

    kind: str
    victim: str
    moment: str
    round: int
    late: float
    lasts: float
    first_back: str

    @classmethod
    def drawn(cls, seed, kinds, moments, rounds, victims=("bank", "operator")):
        chance = random.Random(seed)
        return cls(
            kind=chance.choice(kinds),
            victim=chance.choice(victims),
            moment=chance.choice(moments),
            round=chance.randint(1, rounds),
            late=chance.choice((0.0, chance.uniform(0, 0.4))),
            lasts=chance.choice((0.5, 3.0, 12.0)),
            first_back=chance.choice(victims),
        )

    @property
    def is_long(self):
        """Whether whoever needs the victim must have noticed before it is over."""
        return self.lasts > SLOW_TO_HEAR

    @property
    def breaks(self):
        """Whether nothing can go on as if it had not been."""
        return self.kind in ("kill", "stop", "both-killed") or (self.kind in LASTING and self.is_long)


def befall_link(tell, fault, meanwhile):
    """Break a link, and have it back; ``meanwhile`` is called just before it is back."""
    match fault.kind:
        case "flap":
            until = time.monotonic() + fault.lasts / 4
            chance = random.Random(fault.late)
            while time.monotonic() < until:
                tell(chance.choice(("cut", "half_open")))
                time.sleep(chance.uniform(0.05, 0.8))
            meanwhile()
            return
        case "slow":
            tell("pace", rate=SLOW)
            time.sleep(fault.lasts)
            meanwhile()
            tell("pace", rate=None)
            return
        case "stall":
            tell("stall")
        case "cut" | "half-open":
            tell("refuse")
            tell("cut" if fault.kind == "cut" else "half_open")
    try:
        time.sleep(fault.lasts)
        meanwhile()
    finally:
        tell("go_on")
        tell("refuse", refuses=False)


# ── the report ────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def reported(suite, seed, fault):
    """A run that a fault befalls; yields what is known of it, to be filled in, which the report then has.

    Its keys: ``end``, how the run ended; ``stayed``, for each party that stayed up ``seconds`` from the
    fault until it said why it stood still, with what ``code`` and ``peer``; null if it did not stand still.
    """
    print(f"seed {seed}: {fault}")  # noqa: T201 (shown when it fails)
    known = {"suite": suite, "seed": seed, **asdict(fault), "stayed": {}, "end": "wrong", "why": ""}
    began = time.monotonic()
    try:
        yield known
    except BaseException as error:
        known["end"], known["why"] = "wrong", f"{type(error).__name__}: {error}"[:500]
        raise
    finally:
        known["took"] = round(time.monotonic() - began, 2)
        if REPORT:
            with Path(REPORT).open("a") as file:
                file.write(json.dumps(known) + "\n")


def heard(seconds=None, code="", peer=""):
    """What a party said, and after how many seconds; nothing if its run did not stand still."""
    return {"seconds": None if seconds is None else round(seconds, 3), "code": code, "peer": peer}
