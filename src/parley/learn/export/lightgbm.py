"""The whole forest as LightGBM's text format, version 4, as `lightgbm.Booster(model_file=…)` reads it.

Thresholds and leaf values are written with the shortest digits that give back the same 64-bit float, and
LightGBM compares and adds 64-bit floats in the order of the trees: ``predict(rows, raw_score=True)`` gives
the margins bit for bit. The format is described by what writes and reads it, ``src/io/tree.cpp`` and
``src/boosting/gbdt_model_text.cpp`` of LightGBM 4. Counts and weights of rows in the nodes are left out: no
party may know them. So ``pred_contrib`` of LightGBM does not work on such a model.

LightGBM takes ``|x| <= 1e-35`` for zero, which only matters to a threshold in that range.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from parley.data.bins import MAX_BINS
from parley.learn.export.forest import AtMost, Branch, Forest, OneOf, WholeTree

_CATEGORICAL: Final = 1
_MISSING_LEFT: Final = 2
_MISSING_IS_NAN: Final = 2 << 2
"""Bits of LightGBM's ``decision_type``."""
_WORD: Final = 32
"""Bits of a word of a set of categories."""
_OBJECTIVES: Final = {"binary": "binary sigmoid:1", "regression": "regression"}


def lightgbm_text(forest: Forest) -> str:
    """The model file.

    Args:
        forest: the model. Rows given to it hold its inputs as float64, as `forest.Input` says.
    """
    trees = [tree for one in forest.rounds for tree in one]
    written = [f"Tree={number}\n{_tree(tree)}\n\n" for number, tree in enumerate(trees)]
    head = [
        "tree",
        "version=v4",
        f"num_class={forest.outputs}",
        f"num_tree_per_iteration={forest.outputs}",
        "label_index=0",
        f"max_feature_idx={len(forest.inputs) - 1}",
        f"objective={_OBJECTIVES.get(forest.objective, f'multiclass num_class:{forest.outputs}')}",
        f"feature_names={_joined(each.name for each in forest.inputs)}",
        f"feature_infos={_joined(_range(forest, place) for place in range(len(forest.inputs)))}",
        f"tree_sizes={_joined(len(each.encode()) for each in written)}",
    ]
    return "\n".join([*head, "", "".join(written) + "end of trees", "", _importances(forest, trees)])


def _tree(tree: WholeTree) -> str:
    if not tree.branches:
        lines = ["num_leaves=1", "num_cat=0", f"leaf_value={tree.leaves[0]!r}"]
        return "\n".join([*lines, "is_linear=0", "shrinkage=1"])
    sets = [_words(branch.test.codes) for branch in tree.branches if isinstance(branch.test, OneOf)]
    ends = [0]
    for each in sets:
        ends.append(ends[-1] + len(each))
    lines = [
        f"num_leaves={len(tree.leaves)}",
        f"num_cat={len(sets)}",
        f"split_feature={_joined(branch.input for branch in tree.branches)}",
        f"split_gain={_joined(repr(branch.gain) for branch in tree.branches)}",
        f"threshold={_joined(_thresholds(tree.branches))}",
        f"decision_type={_joined(_decision(branch) for branch in tree.branches)}",
        f"left_child={_joined(branch.left for branch in tree.branches)}",
        f"right_child={_joined(branch.right for branch in tree.branches)}",
        f"leaf_value={_joined(repr(value) for value in tree.leaves)}",
    ]
    if sets:
        lines.append(f"cat_boundaries={_joined(ends)}")
        lines.append(f"cat_threshold={_joined(word for each in sets for word in each)}")
    return "\n".join([*lines, "is_linear=0", "shrinkage=1"])


def _thresholds(branches: Sequence[Branch]) -> Iterable[str]:
    """Of a set of categories, its number in the tree."""
    sets = 0
    for branch in branches:
        if isinstance(branch.test, AtMost):
            yield repr(branch.test.threshold)
        else:
            yield str(sets)
            sets += 1


def _decision(branch: Branch) -> int:
    if isinstance(branch.test, OneOf):
        return _CATEGORICAL
    return _MISSING_IS_NAN | (_MISSING_LEFT if branch.test.missing_left else 0)


def _words(codes: Sequence[int]) -> list[int]:
    """A set of categories as bits of words, lowest first."""
    words = [0] * (max(codes, default=0) // _WORD + 1)
    for code in codes:
        words[code // _WORD] |= 1 << code % _WORD
    return words


def _range(forest: Forest, place: int) -> str:
    """What LightGBM notes of a column's values; nothing is decided by it."""
    each = forest.inputs[place]
    if each.kind == "numeric":
        return f"[{-MAX_BINS}:{MAX_BINS}]"
    codes = [0, *each.categories.values(), *([] if each.other is None else [each.other])]
    return ":".join(str(code) for code in codes)


def _importances(forest: Forest, trees: Iterable[WholeTree]) -> str:
    counts = [0] * len(forest.inputs)
    for tree in trees:
        for branch in tree.branches:
            counts[branch.input] += 1
    ranked = sorted(range(len(counts)), key=lambda place: (-counts[place], place))
    lines = [f"{forest.inputs[place].name}={counts[place]}" for place in ranked if counts[place]]
    return "\n".join(["feature_importances:", *lines, "", "parameters:", "end of parameters", ""])


def _joined(values: Iterable[object]) -> str:
    return " ".join(str(value) for value in values)
