"""The demo, in a process of its own, as `make demo` starts it."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.parties import PATIENCE, arguments, environment, parley

STORY = (
    "$ parley init --name bank",
    "$ parley init --name operator",
    "$ parley init --name regulator",
    "$ parley consortium create",
    "$ parley up --home bank &",
    "bank listens on",
    "$ parley invite operator",
    "$ parley join parley1.",
    "operator listens on",
    "$ parley invite regulator --role observer",
    "1 more yes vote is needed before, of operator",
    "$ parley vote ",
    "accepted",
    "regulator listens on",
    "$ parley members --home bank",
    "$ parley data add accounts",
    "on the ledger as record 9",
    "$ parley data add subscribers",
    "$ parley run plan.toml --wait 0 --home bank",
    "[plan-awaits-approval]",
    "$ parley plans --home operator",
    "bank will learn, besides its piece of the model",
    "$ parley approve ",
    "is approved",
    "$ parley run plan.toml --home bank",
    "in common",
    "bank alone",
    "joint",
    "where time and bytes went",
    "what each side learnt",
    "[ledger-runs-exhausted]",
    "$ parley model release ",
    "still to consent to the same: operator",
    "$ parley model release ",
    "it is released",
    "$ parley predict ",
    "active-only",
    "$ parley key add webshop --home bank",
    "$ parley serve ",
    "is served at http://127.0.0.1:",
    "$ curl -H 'X-API-Key: pk_",
    '"basis":"joint"',
    "$ parley model prove ",
    "$ parley ledger check-proof decision.proof --keys credit.keys",
    "bank answered for id ",
    "$ parley model withdraw ",
    "is withdrawn",
    "$ parley predict ",
    "[model-withdrawn]",
    "$ parley ledger show --last 8 --home regulator",
    "refused: the plan",
    "answers 100 predictions",
    "answers 1 prediction of",
    "withdraws model",
    "$ parley ledger verify --home regulator",
    "all of it holds",
    "all processes are stopped",
)


def served(folder):
    """Processes of `parley up` and `parley serve` whose working folder is the given one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if (process / "cwd").readlink() == folder and {b"up", b"serve"} & set(words):
                found.append(process.name)
        except OSError:
            continue
    return found


@pytest.mark.timeout(600)
def test_it_tells_the_story_and_can_be_gone_on_with(tmp_path):
    folder = tmp_path / "try"
    ended = subprocess.run(
        arguments("demo", "--rows", "600", "--keep", folder),
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        env=environment(PARLEY_HOME="/nowhere"),
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    place = 0
    for words in STORY:
        assert words in ended.stdout[place:], words
        place = ended.stdout.index(words, place)
    (run,) = finished(folder / "bank")
    assert [run] == finished(folder / "operator")
    assert parley("ledger", "verify", "--home", folder / "regulator").answer["refused"] == 1
    assert served(folder) == []
    again = parley("demo", "--keep", folder)
    assert (again.code, again.error["code"]) == (2, "folder-not-new")


def finished(home):
    runs = parley("runs", "--home", home).answer["runs"]
    return [each["run"] for each in runs if each["state"] == "finished"]


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_it_can_be_kept_and_read_by_machines(tmp_path):
    folder = tmp_path / "try"
    ended = subprocess.run(
        [*arguments("demo", "--rows", "600", "--keep", folder), "--json"],
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
        env=environment(),
        check=True,
    )
    answer = json.loads(ended.stdout)
    report = answer["report"]
    assert answer["folder"] == str(folder)
    assert report["rounds"] == 50
    assert report["common"] > 400
    for party in ("bank", "operator"):
        assert finished(folder / party) == [report["run"]]
    assert served(folder) == []


@pytest.mark.soak
def test_it_stops_its_parties_and_cleans_up_when_it_is_stopped(tmp_path):
    with subprocess.Popen(
        arguments("demo", "--rows", "5000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(TMPDIR=str(tmp_path)),
    ) as demo:
        deadline = time.monotonic() + PATIENCE
        while not any(served(folder) for folder in tmp_path.iterdir()):
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        demo.send_signal(signal.SIGTERM)
        _, stderr = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 130
    assert "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []
