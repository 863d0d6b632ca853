"""What a passive party can hold the active one to about the course of a training, without its label."""

from parley.core.conversation import Channel
from parley.learn.histograms import Bools
from parley.learn.parameters import BoostingParameters
from parley.learn.sampling import columns_drawn
from parley.protocols.boosting.messages import Splits, TrainingEnds, TreeBegins


class TreeOrder:
    """Follows trees by round and output, and refuses a tree or an end that the plan does not explain.

    How many classes a multiclass label has is shown by the first round alone.

    Args:
        channel: to the active party.
        parameters: of the plan.
        rounds: rounds done in a former conversation.
        held: splits of ours in those.
    """

    def __init__(self, channel: Channel, parameters: BoostingParameters, rounds: int, held: int) -> None:
        self._channel = channel
        self._parameters = parameters
        self._resumed = rounds
        self._marks = set(range(held + 1))
        self._done = rounds
        self._due = {(rounds, 0)}
        self._outputs = None if parameters.objective == "multiclass" else 1
        self._seen = 0
        self._splitting = False
        self._rows: int | None = None

    def begin(self, begun: TreeBegins, held: int) -> None:
        """Refuse a tree that is not due; ``held``: splits of ours so far."""
        place = (begun.round, begun.output)
        if place not in self._due or begun.round >= self._parameters.n_estimators:
            due = " or ".join(f"tree {output} of round {number}" for number, output in sorted(self._due))
            raise self._channel.fault(
                "wrong-order", f"began tree {begun.output} of round {begun.round} where {due} was due"
            )
        if begun.output == 0:
            if self._seen:
                self._outputs = self._outputs or self._seen
                self._marks.add(held)
            self._splitting = False
        self._done, self._seen = begun.round + 1, begun.output + 1
        following, another = (begun.round + 1, 0), (begun.round, begun.output + 1)
        if self._outputs is None:
            self._due = {another, following}
        else:
            self._due = {another if self._seen < self._outputs else following}

    def draw(self, columns: Bools, sampled: Bools) -> None:
        """Refuse columns and rows that are not drawn as the plan says.

        Without row sampling every tree takes the same rows, the leading ones (validation rows follow); with
        it, as many in every tree.
        """
        parameters = self._parameters
        due = columns_drawn(parameters.colsample_bytree, len(columns))
        if columns.sum() != due:
            raise self._channel.fault(
                "wrong-sample",
                f"drew {columns.sum()} of our {len(columns)} columns, not {due}",
            )
        drawn = int(sampled.sum())
        whole = parameters.data_sample_strategy == "bagging" and parameters.subsample >= 1
        if whole and not sampled[:drawn].all():
            raise self._channel.fault("wrong-sample", "drew rows with gaps where the plan draws all")
        if self._rows not in {None, drawn}:
            raise self._channel.fault(
                "wrong-sample", f"drew {drawn} rows where the trees before drew {self._rows}"
            )
        self._rows = drawn

    def split(self, splits: Splits) -> None:
        """Take note of a level's splits."""
        self._splitting = self._splitting or bool(splits.own or splits.others)

    def end(self, ends: TrainingEnds, held: int) -> int:
        """Refuse an end that nothing explains; returns how many of the ``held`` splits are kept.

        Training ends after the last round of the plan, after a round without any split, or early, when
        the plan says so and more rounds were run than it waits for. Only then may it keep less than all,
        up to the end of a round.
        """
        if not self._explained():
            raise self._channel.fault(
                "wrong-order",
                f"ended the training after {self._done} rounds, which the plan does not explain",
            )
        early = self._parameters.early_stopping_rounds is not None
        if ends.kept != held and not (early and ends.kept in self._marks):
            raise self._channel.fault("bad-count", f"keeps {ends.kept} of our {held} splits")
        return ends.kept

    def _explained(self) -> bool:
        if not self._seen:
            return self._resumed > 0  # what the last round of the former conversation was, it knew
        if self._outputs is not None and self._seen < self._outputs:
            return False
        patience = self._parameters.early_stopping_rounds
        spent = patience is not None and self._done > patience
        return spent or not self._splitting or self._done == self._parameters.n_estimators
