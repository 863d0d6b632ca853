"""The pieces of a model go to the receiver that every owner agreed to, and to nobody else."""

import asyncio
import hashlib
import sys
import time
from contextlib import asynccontextmanager

import lightgbm
import numpy as np
import pytest

from parley.cli.main import main
from parley.core.errors import PeerAborted, PeerMisbehaved, PolicyRefused, UsageError
from parley.core.log import Log
from parley.core.trace import Trace
from parley.learn.export.lightgbm import lightgbm_text
from parley.learn.shares import encode_share
from parley.ledger.contract.models import Model, model_path
from parley.net.channel import CheckedChannel, Setting
from parley.net.memory import memory_pair
from parley.party import merging as at_party
from parley.party.office import Clocks, Office
from parley.party.shown.models import model_shown
from parley.party.turns import Turns
from parley.protocols import merging

from tests.adversary.harness import cases, sweep
from tests.channels import CARRIERS, connected
from tests.models import OWNERS, RUN, SHARES, owners

PIECE = encode_share(SHARES["operator"])
COMMITTED = hashlib.sha256(PIECE).hexdigest()


async def wanting(channel, committed=COMMITTED):
    async with channel:
        return await merging.fetch(channel, RUN, committed)


def giving(piece=PIECE):
    async def give(channel):
        async def piece_of(_model):
            return piece

        async with channel:
            return await merging.give(channel, piece_of)

    return give


async def exchange(piece, committed=None, carrier="memory"):
    names = OWNERS
    async with connected(carrier, merging.STEPS, merging.RECEIVER, merging.OWNER, names=names) as (
        ours,
        theirs,
    ):
        digest = hashlib.sha256(piece).hexdigest() if committed is None else committed
        found = await asyncio.gather(wanting(ours, digest), giving(piece)(theirs), return_exceptions=True)
        return found[0]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_piece_arrives_as_its_owner_has_it(carrier):
    assert await exchange(PIECE, carrier=carrier) == (PIECE, SHARES["operator"])


async def test_a_piece_of_many_blocks_arrives_whole():
    large = PIECE + b" " * (2 * merging.BLOCK_BYTES)
    assert await exchange(large) == (large, SHARES["operator"])


@pytest.mark.parametrize(
    ("piece", "committed"),
    [
        (PIECE, "00" * 32),
        (b"{}", None),
        (encode_share(SHARES["bank"]), None),
        (PIECE.replace(RUN.encode(), b"run-2"), None),
    ],
    ids=["another hash", "no piece", "another party's", "another model's"],
)
async def test_what_is_not_the_committed_piece_is_the_owners_fault(piece, committed):
    found = await exchange(piece, committed)
    assert isinstance(found, PeerMisbehaved)
    assert found.code == "piece-differs"


async def test_no_edited_message_fools_or_hangs_either():
    roles = {merging.RECEIVER: wanting_from_right, merging.OWNER: giving(OF_RIGHT)}
    outcomes = await sweep(cases(merging.STEPS), merging.STEPS, roles)
    assert not {str(case): verdict for case, verdict in outcomes.items() if not verdict.acceptable}


OF_RIGHT = PIECE.replace(b'"operator"', b'"right"').replace(b"operator", b"right")


async def wanting_from_right(channel):
    async with channel:
        return await merging.fetch(channel, RUN, hashlib.sha256(OF_RIGHT).hexdigest())


# ── at the parties ────────────────────────────────────────────────────────────────────────────────────────


@asynccontextmanager
async def offices(folder):
    """The owners with offices whose conversations are in memory."""
    async with owners(folder) as both:
        found = {}
        serving = []

        def dialling(caller):
            async def dial(peer, path):

                assert path == f"/models/{RUN}"
                near, far = memory_pair(caller, peer)
                serving.append(asyncio.create_task(at_party.serve(found[peer], caller, far)))
                return near

            return dial

        clocks = Clocks(time.time, time.monotonic)
        for name in OWNERS:
            log = Log(name, time.time, lambda _: None)
            found[name] = Office(
                both.homes[name], dialling(name), clocks, 1, log, Turns(1), both.ledgers[name]
            )
        yield both, found

        await asyncio.gather(*serving, return_exceptions=True)


@pytest.fixture
async def both(tmp_path):
    async with offices(tmp_path) as (ledgers, found):
        await ledgers.trained()
        yield ledgers, found


async def merge(ledgers, receiver="bank"):
    for owner in OWNERS:
        await ledgers.do(owner, "model.merge", {"model": RUN, "receiver": receiver})


def known(office):
    return office.ledger.draft.known(Model, model_path(RUN))


async def test_the_receiver_holds_the_whole_forest_once_every_owner_has_said_so(both):
    ledgers, found = both
    bank = found["bank"]
    await ledgers.do("bank", "model.merge", {"model": RUN, "receiver": "bank"})
    with pytest.raises(PolicyRefused, match="operator did not consent") as caught:
        await at_party.fetch(bank, RUN)
    assert caught.value.code == "merge-not-agreed"
    assert model_shown(bank.home, RUN).registered.merging == {"bank": "bank"}
    await ledgers.do("operator", "model.merge", {"model": RUN, "receiver": "bank"})
    assert model_shown(bank.home, RUN).registered.merged == ("bank",)
    assert (await at_party.fetch(bank, RUN)).fetched == ("operator",)
    assert (await at_party.fetch(bank, RUN)).held == ("bank", "operator")
    forest = at_party.whole_forest(bank.home, RUN, (), known(bank))
    booster = lightgbm.Booster(model_str=lightgbm_text(forest))
    rows = np.array([[0.0, age] for age in (np.nan, 30.0, 30.5)])
    assert booster.predict(rows, raw_score=True).tolist() == [-0.25, -0.25, -0.625]


async def test_an_owner_believes_its_own_ledger_and_not_the_peer(both):
    ledgers, found = both
    await merge(ledgers, "operator")
    near, far = memory_pair("bank", "operator")
    serving = asyncio.create_task(at_party.serve(found["operator"], "bank", far, settled=0.2))
    asking = CheckedChannel(
        near, Setting(merging.STEPS, merging.RECEIVER, "merging", Trace(time.monotonic), 20.0)
    )
    with pytest.raises(PeerAborted, match="not every owner has let bank"):
        await wanting(asking)
    with pytest.raises(PolicyRefused):
        await serving


async def test_the_pieces_of_a_withdrawn_model_stay_where_they_are(both):
    ledgers, found = both
    await merge(ledgers)
    await ledgers.do("operator", "model.withdraw", {"model": RUN})
    with pytest.raises(PolicyRefused) as caught:
        await at_party.fetch(found["bank"], RUN)
    assert caught.value.code == "ledger-model-withdrawn"
    with pytest.raises(PolicyRefused):
        await at_party.piece_for(found["operator"], "bank", RUN)


async def test_a_piece_that_is_not_the_committed_one_is_neither_given_nor_used(both):
    ledgers, found = both
    await merge(ledgers)
    with pytest.raises(UsageError) as caught:
        at_party.whole_forest(found["bank"].home, RUN, [PIECE + b"\n"], known(found["bank"]))
    assert caught.value.code == "piece-not-committed"
    (found["operator"].home.path / "models" / f"{RUN}.json").write_bytes(PIECE + b"\n")
    with pytest.raises(PeerAborted, match="not the one that stands on the ledger"):
        await at_party.fetch(found["bank"], RUN)
    assert found["bank"].home.pieces(RUN) == {}


async def test_without_the_extra_onnx_is_not_written(both, tmp_path, capsys, monkeypatch):
    _, found = both
    found["bank"].home.keep_piece(RUN, "operator", PIECE)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "parley.learn.export.onnx", raising=False)
    words = ["model", "export", RUN, "--out", str(tmp_path / "out"), "--home", str(found["bank"].home.path)]
    assert main([*words, "--format", "onnx"]) == 2
    assert "onnx-missing" in capsys.readouterr().err
    assert main([*words, "--format", "lightgbm"]) == 0


@pytest.mark.parametrize("form", ["json", "lightgbm", "onnx"])
async def test_pieces_given_by_hand_are_exported_by_the_command(both, form, tmp_path, capsys):
    _, found = both
    given = tmp_path / "operator.json"
    given.write_bytes(PIECE)
    words = ["model", "export", RUN, "--format", form, "--out", str(tmp_path / "out")]
    words += ["--home", str(found["bank"].home.path)]
    assert main([*words, "--piece", str(given)]) == 0
    assert f"wrote {tmp_path / 'out'}" in "".join(capsys.readouterr().out.split("\n"))
    if form == "json":
        assert (tmp_path / "out").read_bytes() == encode_share(SHARES["bank"])
    else:
        assert b"operator.age" in (tmp_path / "out.inputs.json").read_bytes()
        found["bank"].home.keep_piece(RUN, "operator", PIECE)
        assert main(words) == 0
