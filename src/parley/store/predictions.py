"""Where a home keeps pages of predictions that the ledger has, and what is remembered of those let go of.

``predictions/MODEL/entered/NA/NAME-BATCH.page``; what is on a page says `parley.serving.pages`. Beside them
``LET_GO`` has the second since 1970 before which pages of the model were let go of.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from parley.core.files import write_atomically

FOLDER: Final = "predictions"
"""Of the home, for what is kept of models in use."""
PAGE: Final = ".page"
_ENTERED: Final = "entered"
_LET_GO: Final = "LET_GO"


@dataclass(frozen=True)
class EnteredPage:
    """A page that the ledger took.

    Attributes:
        path: of its file.
        model: whose predictions are on it.
        batch: of the model, that the page is on the ledger.
        written: when its last prediction was given out, seconds since 1970.
    """

    path: Path
    model: str
    batch: int
    written: float

    def let_go(self) -> None:
        """Drop it; its predictions can no longer be proven."""
        self.path.unlink(missing_ok=True)


def entered_folder(folder: Path) -> Path:
    """Where the entered pages of a model lie; ``folder``: of the model."""
    return folder / _ENTERED


def entered_pages(home: Path) -> Iterator[EnteredPage]:
    """Those of all models, one at a time: there may be very many."""
    for path in (home / FOLDER).glob(f"*/{_ENTERED}/*/*{PAGE}"):
        batch = path.stem.partition("-")[2]
        with suppress(FileNotFoundError):  # somebody moved it away just now
            if batch.isdecimal():
                yield EnteredPage(path, path.parents[2].name, int(batch), path.stat().st_mtime)


def remember_let_go(home: Path, model: str, before: float) -> None:
    """Note that pages of a model from before some second are let go of; a later one that is noted stays."""
    folder = home / FOLDER / model
    if before > (let_go_before(folder) or 0):
        write_atomically(entered_folder(folder) / _LET_GO, str(int(before)).encode())


def let_go_before(folder: Path) -> int | None:
    """From before which second pages of a model were let go of; nothing if none were."""
    try:
        text = (entered_folder(folder) / _LET_GO).read_text()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
