"""Real processes, killed wherever they accept, execute, write, sign, send, acknowledge: nothing is lost."""

import pytest

from tests.ledger.processes import NAMES, Processes

POINTS = ("accept", "executed", "written", "high-water", "signed", "sent", "final", "acknowledged")
FEW = ("written", "high-water", "signed", "sent")


def killed_at_each(consortium, victim, points):
    others = [name for name in NAMES if name != victim]
    other = "operator" if victim == "bank" else "bank"
    consortium.start(*others, submit=60)
    for point in points:
        consortium.start(victim, submit=10_000, point=point, nth=5)
        assert consortium.died(victim) == -9, consortium.output(victim)[-2000:]
    consortium.start(victim)
    consortium.done(other)
    consortium.settled(*NAMES)
    found = consortium.nothing_lost()
    acknowledged, sent = consortium.journal(victim)
    assert len(sent) >= len(acknowledged) >= len(points)
    assert found.leaves > len(acknowledged)


def test_a_sequencer_killed_while_it_writes_and_signs_loses_nothing(tmp_path):
    with Processes(tmp_path) as consortium:
        killed_at_each(consortium, "bank", FEW)


@pytest.mark.soak
@pytest.mark.parametrize("victim", ["bank", "operator"])
def test_a_member_killed_at_each_point_loses_nothing(tmp_path, victim):
    with Processes(tmp_path) as consortium:
        killed_at_each(consortium, victim, POINTS)
