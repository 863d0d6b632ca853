"""The one CometBFT version that is used, and where its binary is found.

0.39.4 is the newest release of the maintained 0.39 line. 0.40.0 speaks the same ABCI, but names
itself 0.39.0, so that a node could not be told from an older one, and adds no feature that a
consortium uses. The 1.x line is abandoned.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from parley.core.errors import UsageError

VERSION: Final = "0.39.4"
"""The pinned version; ``deploy/cometbft/install.sh`` reads it from here."""

INSTALL: Final = f"go install github.com/cometbft/cometbft/cmd/cometbft@v{VERSION}"
"""The command that builds it."""

SETTING: Final = "PARLEY_COMETBFT"
"""The environment variable that names the binary."""

_PATIENCE: Final = 10.0


def find_binary(environment: Mapping[str, str]) -> Path:
    """The CometBFT binary: the one named by `SETTING`, else on the PATH, else in ``~/go/bin``.

    Raises:
        UsageError: there is none, or it is not the pinned version.

    """
    for candidate in _candidates(environment):
        if candidate.is_file():
            _check_version(candidate)
            return candidate.absolute()
    raise UsageError(
        "cometbft-missing",
        f"no CometBFT binary: neither in {SETTING}, nor on the PATH, nor in ~/go/bin",
        remedy=f"install it with `{INSTALL}`, or name it in {SETTING}",
    )


def _candidates(environment: Mapping[str, str]) -> Iterator[Path]:
    if named := environment.get(SETTING):
        yield Path(named)
        return
    if found := shutil.which("cometbft", path=environment.get("PATH", "")):
        yield Path(found)
    if home := environment.get("HOME"):
        yield Path(home, "go", "bin", "cometbft")


def _check_version(binary: Path) -> None:
    try:
        done = subprocess.run(  # noqa: S603 (the operator names the binary)
            [binary, "version"], capture_output=True, text=True, timeout=_PATIENCE, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise UsageError(
            "cometbft-broken",
            f"{binary} does not tell its version: {error}",
            remedy=f"build it anew with `{INSTALL}`",
        ) from error
    if done.stdout.strip() != VERSION:
        raise UsageError(
            "cometbft-version",
            f"{binary} is CometBFT {done.stdout.strip()[:40]}, expected {VERSION}",
            remedy=f"install the pinned version with `{INSTALL}`",
        )
