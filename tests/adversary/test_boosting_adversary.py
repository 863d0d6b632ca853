"""Joint boosting under the generic adversary: nobody is fooled, hung or surprised."""

import numpy as np
import pytest

from parley.protocols.boosting import ACTIVE, PASSIVE, STEPS, active, passive

from tests.adversary.harness import cases, sweep
from tests.joint import block, problem, resources

ROWS = 30


def roles(**parameters):
    """Both roles over tables in which both parties' columns are split on."""
    random = np.random.default_rng(4)
    blocks = [block(random, ROWS, 2), block(random, ROWS, 2, minimum=2)]
    label = ((blocks[1].codes[0] + blocks[0].codes[0] + random.normal(size=ROWS)) > 7).astype(float)
    task = problem(label, training_rows=ROWS - 4, max_depth=2, **parameters)

    async def lead(channel):
        async with channel:
            outcome = await active([channel], task, blocks[0], resources(0))
            return outcome.state.trees, outcome.state.margins.tobytes(), outcome.rules

    async def follow(channel):
        async with channel:
            return await passive(channel, task.parameters, blocks[1], resources(1))

    return {ACTIVE: lead, PASSIVE: follow}


async def assert_safe(every, **options):
    outcomes = await sweep(every, STEPS, roles(), **options)
    bad = {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}
    assert not bad
    assert {verdict.verdict for verdict in outcomes.values()} >= {"correct", "PeerMisbehaved", "PeerLost"}
    applied = [case for case, verdict in outcomes.items() if verdict.applied]
    assert {case.message for case in applied} == {"", "Hello", *(kind.__name__ for kind in STEPS.messages())}


async def test_any_message_edited_once():
    await assert_safe(cases(STEPS, nths=(0, 1)))


@pytest.mark.soak
async def test_any_of_the_first_messages_edited_once_over_tls():
    await assert_safe(cases(STEPS, nths=(0, 1, 2)), carrier="tls")
