"""An exported forest gives the margins of training, bit for bit, in the runtimes that it is written for."""

import json
import re

import lightgbm
import numpy as np
import onnxruntime
import polars as pl
import pytest

from parley.core.errors import UsageError
from parley.data.bins import CategoricalBins, NumericBins
from parley.data.cells import numbers, text
from parley.learn.export.forest import forest_of
from parley.learn.export.lightgbm import lightgbm_text
from parley.learn.export.onnx import INPUT, MARGIN, PREDICTION, onnx_model
from parley.learn.joined import fit_joined
from parley.learn.parameters import BoostingParameters
from parley.learn.shares import ActiveShare, Column, PassiveShare, decode_share, encode_share
from parley.learn.trees import SplitRule, Tree, TreeLeaf, TreeSplit

from tests.joint import PARTNER, ROOT, SHOP, block, credit, pieces, problem, shoppers

ROWS = 700
SETTINGS = {"n_estimators": 6, "max_depth": 4, "min_child_samples": 3}


def holes(frame, columns, seed):
    """The frame with a tenth of some columns missing."""
    random = np.random.default_rng(seed)
    return frame.with_columns(
        pl.when(pl.Series(random.random(len(frame)) > 0.1)).then(pl.col(name)).alias(name) for name in columns
    )


def of_credit(rows=ROWS):
    """Binary, the last rows held out: among them categories that no training row has."""
    frame, label, own, theirs = credit()
    frame, label = frame.head(rows), label[:rows]
    strange = pl.int_range(pl.len()) >= pl.len() - 60
    frame = holes(frame, (own[0], theirs[0], "EDUCATION"), 1).with_columns(
        pl.when(strange).then(pl.lit("never seen")).otherwise(pl.col("EDUCATION")).alias("EDUCATION")
    )
    columns = {"bank": own, "operator": theirs}
    return frame, label, columns, {"training_rows": len(frame) - 100, "classes": ("0", "1")}


def of_shoppers(rows=ROWS):
    """Binary, with categories too many for bins of their own, and no sum of fewer than ten rows shown."""
    frame, label = shoppers()
    frame, label = frame.head(rows), label[:rows]
    frame = holes(frame, ("PageValues", "Month", "Browser"), 2)
    more = {"categorical": ("Browser", "Region", "TrafficType"), "max_bins": 6, "minimum": 10}
    return frame, label, {"shop": SHOP, "partner": PARTNER}, more


def of_values():
    """A regression over three parties, with values of every size."""
    random = np.random.default_rng(3)
    values = random.standard_normal((ROWS, 4)) * 10.0 ** random.integers(-30, 30, (ROWS, 4))
    values[random.random((ROWS, 4)) < 0.1] = np.nan
    values[:5, 0], values[5:9, 1] = np.inf, -np.inf
    frame = pl.DataFrame(values, schema=["a b", "c", 'd"=\\n', "é"])
    frame = frame.with_columns(pl.Series("empty", [None] * ROWS, dtype=pl.Float64))
    label = np.nan_to_num(np.tanh(values[:, 0])) + np.isnan(values[:, 2]) + np.nan_to_num(values[:, 1] > 0)
    return (
        frame,
        label,
        {"x": ("a b", "empty"), "y": ("c", "é"), "z": ('d"=\\n',)},
        {"objective": "regression"},
    )


def of_classes():
    """Three classes, told by which values are missing and by categories."""
    random = np.random.default_rng(4)
    words = random.choice([f"word {number}" for number in range(200)], ROWS)
    number = np.where(random.random(ROWS) < 0.3, np.nan, random.integers(0, 4, ROWS))
    label = (np.char.str_len(words) + np.isnan(number)) % 3
    frame = pl.DataFrame({"number": number, "words": words}).with_columns(
        pl.when(pl.col("number") != 2).then(pl.col("words")).alias("words")
    )
    more = {"objective": "multiclass", "classes": ("a", "b", "c"), "max_bins": 254, "cat_smooth": 1.0}
    return frame, label.astype(np.float64), {"x": ("number",), "y": ("words",)}, more


@pytest.fixture(
    scope="module", params=[of_credit, of_shoppers, of_values, of_classes], ids=lambda it: it.__name__
)
def trained(request):
    """Forest, its rows as numbers, and their margins in training, ``float64[outputs, rows]``."""
    frame, label, columns, more = request.param()
    shares, margins = pieces(frame, label, columns, **{**SETTINGS, **more})
    read = [decode_share(encode_share(share)) for share in shares]
    forest = forest_of(reversed(read))
    assert {split.owner for tree in shares[0].trees for split in tree.splits} == set(range(len(shares)))
    return forest, rows_of(forest, frame), margins


@pytest.mark.soak
@pytest.mark.parametrize("data", [of_credit, of_shoppers])
def test_a_hundred_trees_of_all_rows_give_the_margins_of_training(data):
    frame, label, columns, more = data(10**6)
    shares, margins = pieces(frame, label, columns, n_estimators=100, max_depth=5, **more)
    forest = forest_of(shares)
    rows = rows_of(forest, frame)
    assert equal(lightgbm_margins(forest, rows)[0], margins.T)
    assert equal(onnx_session(forest, 2).run([MARGIN], {INPUT: rows})[0], margins.T)


def rows_of(forest, frame):
    """What the description of the inputs asks for, of a frame with all columns."""
    described = json.loads(forest.described())
    columns = []
    for each in described["inputs"]:
        series = frame[each["column"]]
        if each["kind"] == "numeric":
            columns.append(numbers(series))
            continue
        unknown = 0 if each["other"] is None else each["other"]
        values = [None if value is None else each["categories"].get(value, unknown) for value in text(series)]
        columns.append(np.array([np.nan if value is None else value for value in values], dtype=np.float64))
    return np.column_stack(columns)


def lightgbm_margins(forest, rows):
    booster = lightgbm.Booster(model_str=lightgbm_text(forest))
    assert booster.feature_name() == [each.name for each in forest.inputs]
    return booster.predict(rows, raw_score=True).reshape(len(rows), -1), booster.predict(rows)


def onnx_session(forest, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(onnx_model(forest), options, providers=["CPUExecutionProvider"])


def equal(found, expected):
    return np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_lightgbm_gives_the_margins_of_training_bit_for_bit(trained):
    forest, rows, margins = trained
    raw, predicted = lightgbm_margins(forest, rows)
    assert equal(raw, margins.T)
    assert np.allclose(predicted.reshape(len(rows), -1), predictions(forest, margins), rtol=1e-14)


@pytest.mark.parametrize("threads", [1, 2])
def test_onnx_gives_the_margins_of_training_bit_for_bit(trained, threads):
    forest, rows, margins = trained
    raw, predicted = onnx_session(forest, threads).run([MARGIN, PREDICTION], {INPUT: rows})
    assert equal(raw, margins.T)
    assert np.allclose(predicted, predictions(forest, margins), rtol=1e-14)


def test_one_row_scores_as_it_does_among_others(trained):
    forest, rows, margins = trained
    booster, session = lightgbm.Booster(model_str=lightgbm_text(forest)), onnx_session(forest)
    for row in range(0, ROWS, 50):
        one = rows[row : row + 1]
        assert equal(booster.predict(one, raw_score=True).ravel(), margins[:, row])
        assert equal(session.run([MARGIN], {INPUT: one})[0].ravel(), margins[:, row])


def test_a_missing_category_may_be_nan_or_zero(trained):
    forest, rows, margins = trained
    for place, each in enumerate(forest.inputs):
        if each.kind == "categorical":
            rows = rows.copy()
            rows[np.isnan(rows[:, place]), place] = 0
    assert equal(lightgbm_margins(forest, rows)[0], margins.T)
    assert equal(onnx_session(forest).run([MARGIN], {INPUT: rows})[0], margins.T)


def predictions(forest, margins):
    if forest.objective == "regression":
        return margins.T
    if forest.objective == "binary":
        return (1 / (1 + np.exp(-margins))).T
    raised = np.exp(margins - margins.max(axis=0))
    return (raised / raised.sum(axis=0)).T


# ── pieces made by hand ───────────────────────────────────────────────────────────────────────────────────


def by_hand(bins, left, *, model="run-1", party="operator", columns=1):
    """A stump that tests one column of the operator, in two pieces."""
    split = TreeSplit(node=0, left=1, owner=1, column=0, split=0, gain=1.0)
    active = ActiveShare(
        model="run-1",
        party="bank",
        owners=("bank", "operator"),
        parameters=BoostingParameters(),
        outputs=1,
        classes=("0", "1"),
        initial=(0.1,),
        trees=(Tree(0, (split,), (TreeLeaf(1, 0.2), TreeLeaf(2, -0.3))), Tree(0, (), (TreeLeaf(0, 0.5),))),
        columns=(),
        rules=(),
    )
    held = tuple(Column(f"c{place}", bins) for place in range(columns))
    return [active, PassiveShare(model=model, party=party, columns=held, rules=(SplitRule(0, left),))]


WORDS = CategoricalBins(("a", "b"), other=True)


@pytest.mark.parametrize("bins", [NumericBins((5e-300, 1.0)), WORDS], ids=["numeric", "categorical"])
@pytest.mark.parametrize("left", [(0,), (1,), (0, 1), (1, 2), (2, 3), (0, 2, 3), (1, 2, 3), (0, 1, 2, 3), ()])
def test_every_set_of_bins_that_training_may_send_left_is_exported(bins, left):
    forest = forest_of(by_hand(bins, left))
    values = (
        [np.nan, -np.inf, 5e-300, 1.0, 1.5, np.inf] if bins is not WORDS else [np.nan, 0.0, 1.0, 2.0, 3.0]
    )
    codes = [0, 1, 1, 2, 3, 3] if bins is not WORDS else [0, 0, 1, 2, 3]
    rows = np.array(values)[:, None]
    margins = np.array([[0.1 + (0.2 if code in left else -0.3) + 0.5] for code in codes])
    assert equal(lightgbm_margins(forest, rows)[0], margins)
    assert equal(onnx_session(forest).run([MARGIN], {INPUT: rows})[0], margins)


def test_the_page_about_models_shows_how_a_row_is_made(tmp_path, monkeypatch):
    forest = forest_of(by_hand(WORDS, (2, 3)))
    (tmp_path / "credit.txt").write_text(lightgbm_text(forest))
    (tmp_path / "credit.txt.inputs.json").write_bytes(forest.described())
    monkeypatch.chdir(tmp_path)
    (shown,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/models.md").read_text(), re.DOTALL)
    for value, margin in (("a", 0.3), ("b", 0.8), ("else", 0.8), (None, 0.3)):
        said = {"known": {("operator", "c0"): value}}
        exec(shown, said)  # noqa: S102 (it is a page of ours)
        assert said["margin"] == pytest.approx(margin)


@pytest.mark.parametrize("seed", range(4))
def test_training_sends_the_lowest_values_of_a_number_left_and_no_others(seed):
    """Whatever the bins hold, and where few rows force neighbours together: so every split is exportable."""
    random = np.random.default_rng(seed)
    blocks = [block(random, 300, 5, minimum=minimum) for minimum in (1, 1 + 9 * seed)]
    asked = problem((random.random(300) < 0.5).astype(np.float64), n_estimators=8, max_depth=4)
    for owned, rules in zip(blocks, fit_joined(asked, blocks).rules, strict=True):
        for rule in rules:
            values = sorted(set(rule.left_bins) - {0})
            assert owned.categorical[rule.column] or values == list(range(1, len(values) + 1))


def test_ranges_apart_from_one_another_are_refused():
    with pytest.raises(UsageError) as caught:
        forest_of(by_hand(NumericBins((1.0, 2.0, 3.0)), (1, 3)))
    assert caught.value.code == "split-not-exportable"
    assert forest_of(by_hand(CategoricalBins(("a", "b", "c")), (1, 3))).rounds


@pytest.mark.parametrize(
    "pieces_",
    [
        by_hand(WORDS, (1,))[:1],
        by_hand(WORDS, (1,))[1:],
        by_hand(WORDS, (1,)) * 2,
        by_hand(WORDS, (1,), model="run-2"),
        by_hand(WORDS, (1,), party="retailer"),
        [],
    ],
)
def test_pieces_of_other_trainings_are_refused(pieces_):
    with pytest.raises(UsageError) as caught:
        forest_of(pieces_)
    assert caught.value.code == "pieces-do-not-fit"


def test_a_model_without_a_tree_gives_its_starting_margin():
    active, operator = by_hand(WORDS, (1,), columns=2)
    bare = forest_of(
        [
            ActiveShare(**{name: getattr(active, name) for name in active.__struct_fields__} | {"trees": ()}),
            PassiveShare(model="run-1", party="operator", columns=operator.columns, rules=()),
        ]
    )
    rows = np.zeros((3, 2))
    assert equal(lightgbm_margins(bare, rows)[0], np.full((3, 1), 0.1))
    assert equal(onnx_session(bare).run([MARGIN], {INPUT: rows})[0], np.full((3, 1), 0.1))
