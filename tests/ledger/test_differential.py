"""Thousands of random transactions, legal and illegal: the engine, a replay and other processes agree."""

import asyncio
import io
import os
import subprocess
import sys
from pathlib import Path

from parley.core.errors import PolicyRefused
from parley.ledger.block import Leaf
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.export import export
from parley.ledger.verifier import verify

from tests.contract import START, key
from tests.ledger.differential import SPEC, envelopes, replayed
from tests.ledger.members import Consortium
from tests.ledger.test_embedded import equal_everywhere

COUNT = 2500
AT_ONCE = 100
ROOT = Path(__file__).parents[2]
VERIFY = (
    "import sys; from parley.ledger.verifier import verify; "
    "found = verify(open(sys.argv[1], 'rb')); print(found.root.hex(), found.state_root.hex())"
)


def consortium_in(folder):
    names = tuple(founder.name for founder in SPEC.founders)
    return Consortium(folder, names, spec=SPEC, keys=key, wall=lambda: START + 1)


async def submitted(member, one):
    try:
        return await member.submit(one.signed)
    except PolicyRefused as refused:
        return refused


async def test_the_engine_a_replay_and_other_processes_have_one_state_root(tmp_path):
    made = envelopes(11, COUNT)
    async with consortium_in(tmp_path) as consortium:
        member = consortium.members["operator"]
        await equal_everywhere(consortium, 1)
        outcomes = []
        for first in range(0, len(made), AT_ONCE):
            part = [submitted(member, one) for one in made[first : first + AT_ONCE]]
            outcomes += await asyncio.gather(*part)
        log = member.log
        await equal_everywhere(consortium, log.size)
        text = io.BytesIO()
        export(Snapshot(log), text)
        leaves = [Leaf.decoded(leaf.data) for leaf in log.store.leaves(1, log.size)]
        roots = (log.root_at(log.size), log.replica.state.root)
    assert len(leaves) > COUNT * 3 // 4
    for one, outcome in zip(made, outcomes, strict=True):
        if one.dropped:
            assert isinstance(outcome, PolicyRefused)

    batches = {}
    for leaf in leaves:
        batches.setdefault((leaf.height, leaf.time), []).append(leaf.signed)
    replica = replayed((time, datas) for (_, time), datas in batches.items())
    assert (replica.frontier.root(), replica.state.root) == roots

    path = tmp_path / "ledger.jsonl"
    path.write_bytes(text.getvalue())
    found = verify(path.read_bytes().splitlines(keepends=True), whole=True)
    assert (found.root, found.state_root) == roots
    assert 0 < found.refused < found.leaves
    for seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", VERIFY, str(path)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            cwd=ROOT,
        )
        assert ran.stdout.split() == [root.hex() for root in roots]
