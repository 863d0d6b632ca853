"""A CometBFT whose clock can be wrong: the pinned version, built over a `time.Now` that adds some seconds.

The node is a static program, which asks the system for the time in ways that nothing outside can change.
"""

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from parley.ledger.engines.cometbft.binary import INSTALL

from tests.comet import ROOT

CLOCK = "COMETBFT_CLOCK"
"""The environment variable with the seconds by which the clock of such a node is ahead."""

_NOW = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
_AHEAD = f"""package time

import "syscall"

var ahead = secondsAhead()

func secondsAhead() (seconds int64) {{
	text, _ := syscall.Getenv("{CLOCK}")
	behind := len(text) > 0 && text[0] == '-'
	for _, digit := range text {{
		if '0' <= digit && digit <= '9' {{
			seconds = 10*seconds + int64(digit-'0')
		}}
	}}
	if behind {{
		return -seconds
	}}
	return seconds
}}
"""


@functools.cache
def binary():
    """The binary, built if need be; the test is skipped where there is no Go."""
    if shutil.which("go") is None:
        pytest.skip("needs Go, to build a CometBFT whose clock can be wrong")
    folder = ROOT / ".tools" / "clock"
    folder.mkdir(parents=True, exist_ok=True)
    goroot = subprocess.run(
        ["go", "env", "GOROOT"], check=True, capture_output=True, text=True
    ).stdout.strip()
    source = Path(goroot) / "src" / "time"
    text = (source / "time.go").read_text()
    assert text.count(_NOW) == 1
    (folder / "time.txt").write_text(text.replace(_NOW, f"{_NOW}\tsec += ahead\n"))
    (folder / "ahead.txt").write_text(_AHEAD)
    replaced = {"time.go": "time.txt", "ahead.go": "ahead.txt"}
    overlay = {"Replace": {str(source / name): str(folder / ours) for name, ours in replaced.items()}}
    (folder / "overlay.json").write_text(json.dumps(overlay))
    built = {**os.environ, "GOBIN": str(folder), "GOFLAGS": f"-overlay={folder / 'overlay.json'}"}
    subprocess.run(INSTALL.split(), check=True, env=built)
    return folder / "cometbft"
