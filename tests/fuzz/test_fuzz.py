"""Whatever bytes a peer sends, the outcome is a value or one of our errors: in bounded memory, and it ends.

The short run draws the same inputs every time. The long one goes on from `PARLEY_FUZZ_SEED` (drawn if it is
not there) for `PARLEY_FUZZ_SECONDS` (60) in all, prints the seed, and keeps the input that is being tried in
`PARLEY_FUZZ_KEEP`, for the case that the process dies of it.
"""

import gc
import os
import secrets
import sys
import time
from pathlib import Path

import pytest

from tests.fuzz import of_ledger, of_native, of_net, of_serving
from tests.fuzz.entries import SOURCE, entries
from tests.fuzz.trial import Trial, inputs, measured

TARGETS = (*of_net.TARGETS, *of_ledger.TARGETS, *of_native.TARGETS, *of_serving.TARGETS)
SHORT = 45
"""Inputs to a target in the short run; of a slow one a third."""
RESIDENT = 96 << 20
"""Bytes by which all inputs of a target may let the process grow: what Python does not count is in it."""

ELSEWHERE = {
    "ledger/checkpoint.py Checkpoint.seal": "writes",
    "ledger/engines/cometbft/keys.py _base64": "writes",
    "ledger/engines/cometbft/rpc.py _base64": "writes",
    "ledger/engines/embedded/high_water.py _mark": "our own disk's; damage is found by test_crashes",
    "ledger/engines/embedded/member.py receipt_of": "our own disk's",
    "net/certificates.py read_private_key": "our own disk's",
    "net/handover.py Reception.take": "a number of our own party's",
    "net/link.py Link.open": "a path of our own",
    "net/links.py Links.open": "a path of our own",
    "net/pipe.py Pipe.open": "a path of our own",
    "net/session.py Session.open": "a path of our own",
    "net/proxy.py Proxies.read": "our own environment",
    "net/wire.py Taker.took": "says what others do",
}
"""What reads bytes and is not fuzzed, and why."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_drawn_inputs_bring_out_our_errors_only(target, tmp_path):
    with Trial(target, tmp_path) as trial, measured():
        for data in inputs(target, trial.fuzzed, 1, SHORT // 3 if target.slow else SHORT):
            trial.withstand(data)


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.filterwarnings("ignore")
def test_inputs_without_end_bring_out_our_errors_only(tmp_path):
    seed = int(os.environ.get("PARLEY_FUZZ_SEED") or secrets.randbits(32))
    seconds = float(os.environ.get("PARLEY_FUZZ_SECONDS", "60"))
    kept = os.environ.get("PARLEY_FUZZ_KEEP", str(tmp_path / "input"))
    print(f"PARLEY_FUZZ_SEED={seed}, the input being tried is in {kept}")  # noqa: T201 (shown when it fails)
    for number, target in enumerate(TARGETS):
        (tmp_path / str(number)).mkdir()
        ends, tried = time.monotonic() + seconds / len(TARGETS), 0
        with Trial(target, tmp_path / str(number), kept) as trial, measured():
            for data in inputs(target, trial.fuzzed, seed, sys.maxsize):
                trial.withstand(data)
                tried += 1
                if time.monotonic() > ends:
                    break
        print(f"{target.name}: {tried} inputs")  # noqa: T201


@pytest.mark.soak
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the system does not say the peak")
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_an_input_says_of_its_size_takes_no_memory(target, tmp_path):
    with Trial(target, tmp_path) as trial:
        drawn = list(inputs(target, trial.fuzzed, 2, SHORT))
        for data in trial.fuzzed.seeds:
            trial.withstand(data)
        gc.collect()
        before = _peak(anew=True)
        for data in drawn:
            trial.withstand(data)
        assert _peak() - before < RESIDENT


def _peak(*, anew=False):
    """The most bytes of memory that this process has had since it was last asked anew."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def test_all_that_reads_bytes_is_fuzzed(tmp_path_factory):
    reached = set()

    def note(frame, event, _argument):
        if event == "call" and frame.f_code.co_filename.startswith(str(SOURCE)):
            reached.add((frame.f_code.co_filename, frame.f_code.co_qualname))

    for target in TARGETS:
        with Trial(target, tmp_path_factory.mktemp("seeds")) as trial:
            sys.setprofile(note)
            try:
                for data in trial.fuzzed.seeds[:40]:
                    trial.withstand(data)
            finally:
                sys.setprofile(None)
    named = {f"{Path(path).relative_to(SOURCE)} {name}" for path, name in reached}
    found = {f"{path} {name}" for path, name in entries()}
    assert found - named - set(ELSEWHERE) == set()
    assert set(ELSEWHERE) - (found - named) == set()
