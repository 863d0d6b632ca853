"""Where the examples and benchmarks lie: beside the sources, not in the installed package."""

from pathlib import Path

import parley
from parley.core.errors import UsageError


def beside_sources(folder: str) -> Path:
    """A folder of the source tree, such as ``examples/credit``.

    Raises:
        UsageError: Parley was installed without its source tree.
    """
    root = Path(parley.__file__).parents[2]
    path = root / folder
    if not (root / "pyproject.toml").is_file() or not path.is_dir():
        raise UsageError(
            "no-source-tree",
            f"there is no {folder} beside this installation of Parley",
            remedy="get the source tree and run `make install` in it; its .venv/bin/parley finds it",
        )
    return path
