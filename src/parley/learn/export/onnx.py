"""The whole forest as ONNX: one `TreeEnsemble` (ai.onnx.ml, version 5) of 64-bit floats.

The operator could add up the leaves of each row itself, but in which order is not said, and the runtime of
ONNX shares the trees out among its threads. So each tree has a target of its own, and `CumSum` adds them
up in the order of the trees: margins are ours bit for bit with any number of threads, for sixteen more
bytes per row and tree while it computes.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from parley.learn.export.forest import AtMost, Branch, Forest, WholeTree

INPUT: Final = "rows"
MARGIN: Final = "margin"
PREDICTION: Final = "prediction"
_DOMAIN: Final = "ai.onnx.ml"
_OPSET: Final = 21
_ML_OPSET: Final = 5
_FORMAT: Final = 10
"""Versions of the operators and of the file: of ONNX 1.17, of 2024."""
_AT_MOST: Final = 0
_MEMBER: Final = 6
_SUM: Final = 1
_UNCHANGED: Final = 0


def onnx_model(forest: Forest) -> bytes:
    """The model file.

    It takes ``rows``, float64[n, inputs], as `forest.Input` says of each column, and gives ``margin``,
    float64[n, outputs], and ``prediction``: of a regression float64[n, 1], the values; of two classes
    float64[n, 1], the probability of the second; of more float64[n, outputs], that of each.
    """
    rows = helper.make_tensor_value_info(INPUT, TensorProto.DOUBLE, ["n", len(forest.inputs)])
    results = [
        helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["n", forest.outputs])
        for name in (MARGIN, PREDICTION)
    ]
    ensemble = helper.make_node("TreeEnsemble", [INPUT], ["leaves"], domain=_DOMAIN, **_attributes(forest))
    nodes = [ensemble, *_added(), _link(forest)]
    graph = helper.make_graph(nodes, forest.model, [rows], results, _constants(forest))
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_DOMAIN, _ML_OPSET)],
        ir_version=_FORMAT,
        producer_name="parley",
    )
    helper.set_model_props(model, {"inputs": forest.described().decode()})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _added() -> list[onnx.NodeProto]:
    """From the leaves, float64[n, rounds · outputs], to margins: the last of their sums so far."""
    return [
        helper.make_node("Reshape", ["leaves", "shape"], ["by_round"]),
        helper.make_node("CumSum", ["by_round", "rounds_axis"], ["so_far"]),
        helper.make_node("Gather", ["so_far", "last"], [MARGIN], axis=1),
    ]


def _constants(forest: Forest) -> list[onnx.TensorProto]:
    shape = [-1, len(forest.rounds), forest.outputs]
    return [
        numpy_helper.from_array(np.array(value, dtype=np.int64), name)
        for name, value in (("shape", shape), ("rounds_axis", 1), ("last", len(forest.rounds) - 1))
    ]


def _link(forest: Forest) -> onnx.NodeProto:
    """From margins to predictions."""
    if forest.objective == "binary":
        return helper.make_node("Sigmoid", [MARGIN], [PREDICTION])
    if forest.objective == "multiclass":
        return helper.make_node("Softmax", [MARGIN], [PREDICTION], axis=1)
    return helper.make_node("Identity", [MARGIN], [PREDICTION])


def _attributes(forest: Forest) -> dict[str, Any]:
    """Of all trees: a node per branch, whose two ways lead to nodes or leaves by number in the whole."""
    table = _Table()
    for trees in forest.rounds:
        for tree in trees:
            table.add(tree)
    return {
        "n_targets": len(table.roots),
        "aggregate_function": _SUM,
        "post_transform": _UNCHANGED,
        "tree_roots": table.roots,
        "nodes_featureids": [branch.input for branch in table.branches],
        "nodes_modes": _tensor([_mode(branch) for branch in table.branches], np.uint8),
        "nodes_splits": _tensor([_threshold(branch) for branch in table.branches], np.float64),
        "nodes_missing_value_tracks_true": [int(_missing_left(branch)) for branch in table.branches],
        "nodes_truenodeids": [_number(place) for place, _ in table.ways],
        "nodes_trueleafs": [int(place < 0) for place, _ in table.ways],
        "nodes_falsenodeids": [_number(place) for _, place in table.ways],
        "nodes_falseleafs": [int(place < 0) for _, place in table.ways],
        "leaf_weights": _tensor(table.leaves, np.float64),
        "leaf_targetids": table.targets,
        **_members(table.branches),
    }


class _Table:
    """All trees laid one behind the other; a way is a branch's number, or ``~`` a leaf's."""

    def __init__(self) -> None:
        self.roots: list[int] = []
        self.branches: list[Branch] = []
        self.ways: list[tuple[int, int]] = []
        self.leaves: list[float] = []
        self.targets: list[int] = []

    def add(self, tree: WholeTree) -> None:
        first, leaf = len(self.branches), len(self.leaves)

        def whole(place: int) -> int:
            return first + place if place >= 0 else ~(leaf + ~place)

        self.targets += [len(self.roots)] * len(tree.leaves)
        self.roots.append(first)
        for branch in tree.branches or (_ONLY_LEAF,):
            self.branches.append(branch)
            self.ways.append((whole(branch.left), whole(branch.right)))
        self.leaves += tree.leaves


_ONLY_LEAF: Final = Branch(0, AtMost(0.0, missing_left=True), ~0, ~0, 0.0)
"""Stands before the leaf of a tree without branches, since roots are nodes."""


def _number(place: int) -> int:
    return place if place >= 0 else ~place


def _mode(branch: Branch) -> int:
    return _AT_MOST if isinstance(branch.test, AtMost) else _MEMBER


def _threshold(branch: Branch) -> float:
    return branch.test.threshold if isinstance(branch.test, AtMost) else 0.0


def _missing_left(branch: Branch) -> bool:
    return isinstance(branch.test, AtMost) and branch.test.missing_left


def _members(branches: Iterable[Branch]) -> dict[str, Any]:
    """The sets of categories in the order of their nodes, each with NaN behind it."""
    values: list[float] = []
    for branch in branches:
        if not isinstance(branch.test, AtMost):
            values += [*(float(code) for code in branch.test.codes), np.nan]
    return {"membership_values": _tensor(values, np.float64)} if values else {}


def _tensor(values: Iterable[float], kind: type[np.generic]) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(list(values), dtype=kind))
