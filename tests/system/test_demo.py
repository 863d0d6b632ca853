"""The demo, in a process of its own, as `make demo` starts it."""

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.system.parties import PATIENCE, arguments, environment, parley


def served(folder):
    """Processes of `parley up` whose working folder is the given one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder and b"up" in (process / "cmdline").read_bytes().split(
                b"\0"
            ):
                found.append(process.name)
        except OSError:
            continue
    return found


def test_it_tells_the_story_and_cleans_up(tmp_path):
    ended = subprocess.run(
        arguments("demo", "--rows", "600"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(TMPDIR=str(tmp_path), PARLEY_HOME="/nowhere"),
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    places = [
        ended.stdout.index(words)
        for words in (
            "$ parley init --name bank",
            "$ parley init --name operator",
            "$ parley peer add operator",
            "$ parley peer add bank",
            "$ parley data add accounts",
            "$ parley data add subscribers",
            "$ parley up --home bank &",
            "operator listens on",
            "$ parley run plan.toml --home bank",
            "in common",
            "bank alone",
            "joint",
            "where time and bytes went",
            "what each side learnt",
            "both processes are stopped",
        )
    ]
    assert places == sorted(places)
    assert list(tmp_path.iterdir()) == []


def test_it_can_be_kept_and_read_by_machines(tmp_path):
    folder = tmp_path / "try"
    ended = subprocess.run(
        [*arguments("demo", "--rows", "600", "--keep", folder), "--json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(),
        check=True,
    )
    answer = json.loads(ended.stdout)
    report = answer["report"]
    assert answer["folder"] == str(folder)
    assert report["rounds"] == 50
    assert report["common"] > 400
    for party in ("bank", "operator"):
        (run,) = parley("runs", "--home", folder / party).answer["runs"]
        assert (run["run"], run["state"]) == (report["run"], "finished")
    assert served(folder) == []
    again = parley("demo", "--keep", folder)
    assert (again.code, again.error["code"]) == (2, "folder-not-new")


def test_it_stops_its_parties_when_it_is_stopped(tmp_path):
    folder = tmp_path / "try"
    with subprocess.Popen(
        arguments("demo", "--rows", "5000", "--keep", folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as demo:
        deadline = time.monotonic() + PATIENCE
        while len(served(folder)) < 2:
            assert demo.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        demo.send_signal(signal.SIGTERM)
        _, stderr = demo.communicate(timeout=PATIENCE)
    assert demo.returncode == 130
    assert "Traceback" not in stderr
    assert served(folder) == []
