"""Second-order gradient boosting by rounds, without knowing where a histogram comes from.

The active party of the joint protocol and the learner on the joined table (`joined`) run the very same
functions; only the source of the passive columns' sums differs. Everything random in a round follows
from ``random_state`` and the round's number, so a round can be run again from the state before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from parley.crypto.randomness import derive, generator
from parley.learn.histograms import Bools
from parley.learn.objectives import Objective
from parley.learn.parameters import BoostingParameters
from parley.learn.quantisation import Quantised, quantise
from parley.learn.sampling import sample_columns, sample_rows
from parley.learn.splitting import SplitRules
from parley.learn.trees import Chosen, Membership, SplitRule, Tree, TreeGrower, TreeLeaf, TreeSplit

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """What is fixed while a model is trained.

    Rows are the training rows followed by the validation rows (if any).

    Attributes:
        parameters: what the user set.
        objective: the loss.
        label: ``float64[rows]``.
        weight: ``float64[rows]`` sample weights, or None for one each.
        training_rows: how many of the rows are trained on.
    """

    parameters: BoostingParameters
    objective: Objective
    label: Floats
    weight: Floats | None
    training_rows: int

    @property
    def messages(self) -> int:
        """k: integers per row in split finding; 1 where every hessian is one, else 2."""
        ones = self.objective.constant_hessian and self.weight is None
        return 1 if ones and self.parameters.data_sample_strategy != "goss" else 2

    def part(self, values: Floats | None, *, validation: bool) -> Floats | None:
        """The training or the validation rows of an array."""
        if values is None:
            return None
        return values[self.training_rows :] if validation else values[: self.training_rows]


@dataclass(frozen=True)
class BoostingState:
    """All that a round leaves to the next.

    Attributes:
        round: rounds done.
        initial: margin of each output before the first tree.
        trees: trees so far, in order.
        margins: ``float64[outputs, rows]``.
        splits: per owner, splits so far; numbers the next one.
        losses: loss on the validation rows after each round.
        exhausted: the last round found nothing to split.
        rules: what each split of owner 0, the holder of the state, tests.
    """

    round: int
    initial: tuple[float, ...]
    trees: tuple[Tree, ...]
    margins: Floats
    splits: tuple[int, ...]
    losses: tuple[float, ...]
    exhausted: bool
    rules: tuple[SplitRule, ...] = ()


@dataclass(frozen=True)
class TreeTask:
    """What one tree is grown from.

    Attributes:
        output: which margin it adds to.
        sampled: ``bool[rows]``: the rows whose gradients count.
        quantised: integer gradients of the sampled rows.
        gradient: exact gradients of the sampled rows, for leaf values.
        hessian: likewise.
        columns: per owner, handles of the columns drawn for this tree, ascending.
    """

    output: int
    sampled: Bools
    quantised: Quantised
    gradient: Floats
    hessian: Floats
    columns: tuple[NDArray[np.int64], ...]


def begin(problem: Problem, owners: int) -> BoostingState:
    """The state before the first round, for columns of so many owners."""
    label = problem.label[: problem.training_rows]
    initial = problem.objective.initial(label, problem.part(problem.weight, validation=False))
    margins = np.repeat(initial[:, None], len(problem.label), axis=1)
    return BoostingState(0, tuple(initial.tolist()), (), margins, (0,) * owners, (), exhausted=False)


def finished(problem: Problem, state: BoostingState) -> bool:
    """Whether no further round is to be run."""
    patience = problem.parameters.early_stopping_rounds
    stale = patience is not None and state.losses and state.round - kept_rounds(problem, state) >= patience
    return bool(state.exhausted or stale or state.round >= problem.parameters.n_estimators)


def kept_rounds(problem: Problem, state: BoostingState) -> int:
    """Rounds the model keeps: up to the best validation loss with early stopping, else all."""
    if problem.parameters.early_stopping_rounds is None or not state.losses:
        return state.round
    return int(np.argmin(state.losses)) + 1


def tasks(problem: Problem, state: BoostingState, columns: Sequence[int]) -> list[TreeTask]:
    """The trees of the next round, one per output; ``columns``: how many each owner has."""
    rows = problem.training_rows
    margins, label = state.margins[:, :rows], problem.label[:rows]
    gradients, hessians = problem.objective.gradients(margins, label)
    weight = problem.part(problem.weight, validation=False)
    if weight is not None:
        gradients, hessians = gradients * weight, hessians * weight
    return [
        _task(problem, (state.round, output), columns, gradients[output], hessians[output])
        for output in range(problem.objective.outputs)
    ]


def _task(
    problem: Problem, place: tuple[int, int], columns: Sequence[int], gradient: Floats, hessian: Floats
) -> TreeTask:
    parameters = problem.parameters
    seed = derive(parameters.random_state.to_bytes(8, "big"), "tree", *place)
    chosen, factor = sample_rows(parameters, gradient, hessian, generator(derive(seed, "rows")))
    gradient, hessian = gradient[chosen], hessian[chosen]
    if factor is not None:
        gradient, hessian = gradient * factor, hessian * factor
    bits = (parameters.gradient_bits, parameters.hessian_bits)
    noise = generator(derive(seed, "rounding"))
    quantised = quantise(gradient, hessian if problem.messages > 1 else None, bits=bits, noise=noise)
    sampled = np.zeros(len(problem.label), dtype=np.bool_)
    sampled[chosen] = True
    drawn = tuple(
        sample_columns(parameters.colsample_bytree, count, generator(derive(seed, "columns", owner)))
        for owner, count in enumerate(columns)
    )
    return TreeTask(place[1], sampled, quantised, gradient, hessian, drawn)


def grower(problem: Problem, task: TreeTask, categorical: Sequence[Bools]) -> TreeGrower:
    """The machine that decides the splits of a task's tree; ``categorical`` per owner, all its columns."""
    parameters = problem.parameters
    membership = Membership(task.sampled, parameters.max_depth, parameters.min_child_samples)
    drawn = [kinds[columns] for kinds, columns in zip(categorical, task.columns, strict=True)]
    return TreeGrower(
        membership, task.quantised.messages, drawn, SplitRules(parameters, task.quantised.scales)
    )


def finish_tree(problem: Problem, state: BoostingState, task: TreeTask, grown: TreeGrower) -> BoostingState:
    """Give the leaves their values from the exact gradients and add the tree to the state."""
    counts = list(state.splits)
    splits = []
    rules = [rule_of(task, chosen) for chosen, _ in grown.splits if chosen.owner == 0]
    for chosen, left in grown.splits:
        column = int(task.columns[chosen.owner][chosen.candidate.column])
        number = counts[chosen.owner]
        splits.append(TreeSplit(chosen.node, left, chosen.owner, column, number, chosen.candidate.gain))
        counts[chosen.owner] += 1
    margins = state.margins.copy()
    leaves = []
    for node in grown.leaves():
        value = _leaf_value(problem.parameters, task, grown.membership, node)
        margins[task.output, grown.membership.rows(node)] += value
        leaves.append(TreeLeaf(node, value))
    tree = Tree(task.output, tuple(splits), tuple(leaves))
    return replace(
        state,
        trees=(*state.trees, tree),
        margins=margins,
        splits=tuple(counts),
        rules=(*state.rules, *rules),
    )


def rule_of(task: TreeTask, chosen: Chosen) -> SplitRule:
    """What a decided split tests, in terms of all the owner's columns."""
    column = int(task.columns[chosen.owner][chosen.candidate.column])
    return SplitRule(column, tuple(np.flatnonzero(chosen.candidate.left).tolist()))


def _leaf_value(parameters: BoostingParameters, task: TreeTask, membership: Membership, node: int) -> float:
    rows = membership.sampled_rows(node)
    weight = float(task.hessian[rows].sum()) + parameters.reg_lambda
    return -parameters.learning_rate * float(task.gradient[rows].sum()) / weight if weight > 0 else 0.0


def finish_round(problem: Problem, state: BoostingState) -> BoostingState:
    """Count the round, and measure it on the validation rows if there are any."""
    trees = state.trees[-problem.objective.outputs :]
    losses = state.losses
    if problem.training_rows < len(problem.label):
        margins = state.margins[:, problem.training_rows :]
        label = problem.label[problem.training_rows :]
        weight = problem.part(problem.weight, validation=True)
        losses = (*losses, problem.objective.loss(margins, label, weight))
    return replace(
        state, round=state.round + 1, losses=losses, exhausted=not any(tree.splits for tree in trees)
    )
