"""A model as files for programs that know nothing of Parley, where the pieces of all owners are here."""

from collections.abc import Sequence
from typing import Final, Literal

from parley.core.errors import UsageError
from parley.learn.export.forest import Forest
from parley.learn.export.lightgbm import lightgbm_text
from parley.ledger.contract.models import Model, model_path
from parley.party.chronicle import Chronicle
from parley.party.merging import holds_whole, whole_forest
from parley.store.home import Home

Format = Literal["json", "lightgbm", "onnx"]
"""``json``: our own piece; the others: the whole forest."""
ENDINGS: Final[dict[Format, str]] = {"json": ".json", "lightgbm": ".txt", "onnx": ".onnx"}
INPUTS: Final = ".inputs.json"
"""Ends the name of the file that says what a row holds, after that of the whole forest."""


def is_whole_here(home: Home, model: str) -> bool:
    """Whether the pieces of all owners were fetched, as they stand on the ledger.

    Raises:
        UsageError: ``no-such-model``.
    """
    home.share(model)
    known = _known(home, model)
    return known is not None and holds_whole(home, known)


def whole(home: Home, model: str, given: Sequence[bytes] = ()) -> Forest:
    """The whole forest.

    Args:
        home: ours.
        model: which.
        given: files of the others' pieces; none: those that were fetched.

    Raises:
        UsageError: as `whole_forest`.
    """
    return whole_forest(home, model, given, _known(home, model))


def onnx_file(forest: Forest) -> bytes:
    """A forest as ONNX.

    Raises:
        UsageError: ``onnx-missing``.
    """
    try:
        from parley.learn.export.onnx import onnx_model  # noqa: PLC0415 (an extra)
    except ModuleNotFoundError:
        raise UsageError(
            "onnx-missing",
            "the package `onnx`, which writes such files, is not installed",
            remedy="run `pip install 'parley[export]'`",
        ) from None
    return onnx_model(forest)


def lightgbm_file(forest: Forest) -> bytes:
    """A forest as text of LightGBM."""
    return lightgbm_text(forest).encode()


def _known(home: Home, model: str) -> Model | None:
    """The model as our copy of the ledger has it, if there is one that does."""
    if home.membership is None:
        return None
    with Chronicle.open(home) as ledger:
        return ledger.draft.find(Model, model_path(model))
