"""What is kept of a training for when the model is used: how scores lay, and what a party has alone."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.core.errors import UsageError
from parley.learn.objectives import Binary, Multiclass, Regression
from parley.learn.reference import Reference, baseline_of, decode_reference, encode_reference
from parley.learn.stability import Histogram
from parley.party.run import Led
from parley.party.stages import Means, TrainingRows, score_alone, train_alone
from parley.serving.fallback import alone_of
from parley.store.home import Home
from parley.store.settings import Settings

from tests.joint import problem, shoppers
from tests.unit.test_hostile_files import STRANGE


def trained(**parameters):
    """A model of some columns of online_shoppers, and the frame."""
    frame, label = shoppers()
    rows = TrainingRows(frame.head(1500), ("PageValues", "ExitRates", "Month"), 1200)
    settings = {"n_estimators": 6, "max_depth": 3, "min_child_samples": 20, "early_stopping_rounds": 2}
    chosen = problem(label[:1500], training_rows=1200, **(settings | parameters))
    means = Means(party="bank", model="run-1", seed=bytes(32))
    return train_alone(rows, chosen, ("no", "yes"), means), chosen, frame


def test_the_model_of_the_own_columns_scores_the_same_after_it_was_kept(tmp_path):
    share, chosen, frame = trained()
    assert share.owners == ("bank",)
    assert {each.owner for tree in share.trees for each in tree.splits} == {0}
    margin = score_alone(share, frame[1500:3000], 1)
    reference = Reference(("no", "yes"), baseline_of(chosen.objective, margin), share)
    home = Home.create(tmp_path / "bank", Settings(party="bank", listen=""))
    assert home.reference("run-1") is None
    assert home.keep_reference(reference).name == "run-1.serving.json"
    assert home.reference("run-1") == reference
    assert score_alone(alone_of(home, "run-1"), frame[1500:3000], 1).tobytes() == margin.tobytes()
    assert home.models() == []
    home.keep_share(share)
    assert home.models() == ["run-1"]


def test_it_keeps_the_rounds_up_to_the_best_as_the_joint_model_does():
    full, *_ = trained(early_stopping_rounds=None, n_estimators=30, learning_rate=1.0)
    cut, *_ = trained(early_stopping_rounds=2, n_estimators=30, learning_rate=1.0)
    assert 0 < len(cut.trees) < len(full.trees)
    assert full.trees[: len(cut.trees)] == cut.trees
    assert cut.splits_of(0) == len(cut.rules)


def test_a_model_of_an_earlier_release_has_no_fallback(tmp_path):
    home = Home.create(tmp_path / "bank", Settings(party="bank", listen=""))
    with pytest.raises(UsageError) as caught:
        alone_of(home, "run-1")
    assert caught.value.code == "no-fallback-model"


def test_what_an_earlier_release_left_of_a_run_it_led_is_read():
    share, *_ = trained()
    assert Led.__struct_defaults__ == (None,)
    fields = {"share": share, "entered": 1, "peers": {}, "rows": {"training": 1, "validation": 0, "test": 0}}
    old = msgspec.msgpack.encode(fields | {"quality": (), "warnings": ()})
    assert msgspec.msgpack.decode(old, type=Led).reference is None


@pytest.mark.parametrize("data", STRANGE)
def test_a_file_of_another_kind_is_refused(data):
    with pytest.raises(UsageError) as caught:
        decode_reference(data, model="run-1")
    assert caught.value.code == "share-malformed"


def test_a_file_of_another_model_or_with_a_part_missing_is_refused():
    share, *_ = trained()
    good = Reference((), (), share)
    for model, reference, code in (
        ("run-2", good, "share-of-another-model"),
        ("run-1", Reference((), (), msgspec.structs.replace(share, rules=())), "share-inconsistent"),
    ):
        with pytest.raises(UsageError) as caught:
            decode_reference(encode_reference(reference), model=model)
        assert caught.value.code == code
    broken = encode_reference(Reference((), (Histogram((1.0,), (1, 2)),), share)).replace(b"1.0", b"")
    with pytest.raises(UsageError):
        decode_reference(broken, model="run-1")


def test_every_objective_has_its_distributions():
    margin = np.random.default_rng(1).normal(size=(1, 500))
    (binary,) = baseline_of(Binary(), margin)
    assert (len(binary.counts), sum(binary.counts)) == (20, 500)
    (regression,) = baseline_of(Regression(), margin)
    assert (len(regression.counts), sum(regression.counts)) == (20, 500)
    assert max(regression.counts) - min(regression.counts) <= 2
    classes = baseline_of(Multiclass(3), np.repeat(margin, 3, axis=0))
    assert [sum(each.counts) for each in classes] == [500] * 3
    assert baseline_of(Binary(), margin[:, :0]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_distribution_counts_every_value_once_and_has_not_moved_from_itself(values):
    for histogram in (Histogram.of_probabilities(values), Histogram.of_values(values)):
        assert sum(histogram.counts) == len(values)
        assert histogram.counted(values).tolist() == list(histogram.counts)
        assert histogram.moved(values) == pytest.approx(0, abs=1e-12)


def test_a_distribution_that_moved_is_seen():
    before = np.random.default_rng(1).beta(2, 5, 4000)
    histogram = Histogram.of_probabilities(before)
    assert histogram.moved(np.random.default_rng(2).beta(2, 5, 4000)) < 0.05
    assert histogram.moved(before**0.5) > 0.25
    assert np.isnan(histogram.moved([]))


def test_probability_one_half_belongs_to_the_lower_of_two_bins():
    assert Histogram.of_probabilities([0.0, 0.05, 0.5, 1.0]).counts == (2, *[0] * 8, 1, *[0] * 9, 1)
