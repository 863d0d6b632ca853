"""What our people's word on a model does on the ledger, and how the model is shown before and after."""

import pytest

from parley.cli.main import main
from parley.core.errors import PolicyRefused, UsageError
from parley.learn.shares import encode_share
from parley.party.releasing import Wanted, release
from parley.party.shown.models import model_shown, models_listed
from parley.store.home import Home
from parley.store.settings import Settings

from tests.models import DAY, NOW, RUN, SHARES, UNTIL, owners


@pytest.fixture
async def both(tmp_path):
    async with owners(tmp_path) as found:
        yield found


async def test_a_model_is_released_when_every_owner_leaves_the_terms_to_the_plan(both):
    await both.trained(predictions=500)
    first = await release(both.ledgers["bank"], Wanted(model=RUN))
    assert (first.quota, first.until, first.in_force) == (500, UNTIL, False)
    assert (first.missing, first.granted, first.status) == (("operator",), (), "trained")
    waiting = model_shown(both.homes["bank"], RUN).registered
    assert [(each.party, each.quota, each.until) for each in waiting.consents] == [("bank", 500, UNTIL)]
    assert (waiting.release, waiting.missing) == (None, ("operator",))
    second = await release(both.ledgers["operator"], Wanted(model=RUN))
    assert (second.in_force, second.missing, second.status) == (True, (), "released")
    shown = model_shown(both.homes["operator"], RUN).registered
    assert (shown.release.quota, shown.release.used, shown.release.until) == (500, 0, UNTIL)
    assert (shown.consents, shown.missing, shown.status) == ((), (), "released")


async def test_owners_that_name_other_terms_wait_for_one_another(both, capsys):
    await both.trained()
    await release(both.ledgers["bank"], Wanted(model=RUN, predictions=50))
    other = await release(both.ledgers["operator"], Wanted(model=RUN, predictions=60))
    assert other.missing == ("bank",)
    shown = model_shown(both.homes["operator"], RUN).registered
    assert [each.quota for each in shown.consents] == [50, 60]
    assert main(["model", "show", RUN, "--home", str(both.homes["bank"].path)]) == 0
    assert "all to consent to the same" in capsys.readouterr().out
    agreed = await release(both.ledgers["bank"], Wanted(model=RUN, predictions=60))
    assert agreed.in_force


async def test_the_consent_of_the_active_party_speaks_for_owners_that_gave_it_a_grant(both):
    await both.trained(granted_until=UNTIL + DAY)
    done = await release(both.ledgers["bank"], Wanted(model=RUN, predictions=10))
    assert (done.granted, done.in_force, done.refused) == (("operator",), True, ())


async def test_a_grant_that_ends_before_the_release_does_not_speak_for_its_owner(both):
    await both.trained(granted_until=UNTIL)
    with pytest.raises(PolicyRefused) as caught:
        await release(both.ledgers["bank"], Wanted(model=RUN, until=UNTIL + 1))
    assert caught.value.code == "ledger-time-out-of-range"
    (given,) = (path.removeprefix("grant/") for path in both.ledgers["bank"].draft.paths("grant/"))
    await both.do("operator", "grant.revoke", {"grant": given})
    done = await release(both.ledgers["bank"], Wanted(model=RUN))
    assert (done.granted, done.missing) == ((), ("operator",))


async def test_what_cannot_be_released_is_said_before_anything_stands_on_the_ledger(both):
    await both.trained(predictions=0)
    before = both.ledgers["bank"].member.log.size
    for model, code in ((RUN, "nothing-to-release"), ("run-2", "model-not-on-ledger")):
        with pytest.raises(UsageError) as caught:
            await release(both.ledgers["bank"], Wanted(model=model))
        assert caught.value.code == code
    assert both.ledgers["bank"].member.log.size == before


async def test_a_model_is_shown_with_its_holders_and_its_place_on_the_ledger(both, capsys):
    plan = await both.trained()
    bank = both.homes["bank"]
    shown = model_shown(bank, RUN)
    assert [(each.party, each.role, each.kept) for each in shown.holders] == [
        ("bank", "active", True),
        ("operator", "passive", None),
    ]
    assert shown.holders[0].committed == shown.digest
    known = shown.registered
    assert (known.plan, known.purpose, known.status) == (plan, "credit scores", "trained")
    assert known.record == both.ledgers["bank"].member.log.size - 1
    assert [(each.name, each.value) for each in known.metrics] == [("joint.auc", 0.78)]
    assert (known.left, known.until) == (1000, UNTIL)
    (bank.path / "models" / f"{RUN}.json").write_bytes(encode_share(SHARES["bank"]) + b"\n")
    assert model_shown(bank, RUN).holders[0].kept is False
    assert main(["model", "show", RUN, "--home", str(bank.path)]) == 0
    said = capsys.readouterr().out
    assert "not the file here" in said
    assert "joint.auc 0.7800" in said


async def test_the_list_says_how_much_of_a_release_is_used(both, capsys):
    await both.trained()
    for owner in ("bank", "operator"):
        await release(both.ledgers[owner], Wanted(model=RUN, predictions=20, until=NOW + DAY))
    batch = {"model": RUN, "batch": 0, "root": "00" * 32, "count": 12}
    await both.do("bank", "prediction.commit", batch)
    (listed,) = models_listed(both.homes["bank"])
    assert (listed.status, listed.used, listed.quota, listed.until) == ("released", 12, 20, NOW + DAY)
    assert main(["models", "--home", str(both.homes["bank"].path)]) == 0
    assert "released, 12 of 20 used" in capsys.readouterr().out
    await both.do("operator", "model.withdraw", {"model": RUN})
    shown = model_shown(both.homes["bank"], RUN).registered
    assert (shown.status, shown.batches, shown.left) == ("withdrawn", 1, 988)


def test_without_a_ledger_a_model_is_shown_as_far_as_our_piece_says(tmp_path, capsys):
    home = Home.create(tmp_path / "operator", Settings(party="operator", listen=""))
    home.keep_share(SHARES["operator"])
    shown = model_shown(home, RUN)
    assert (shown.registered, [each.party for each in shown.holders]) == (None, ["operator"])
    assert models_listed(home)[0].status == ""
    assert main(["model", "show", RUN, "--home", str(home.path)]) == 0
    assert "there is no ledger here" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["tomorrow", "2027-02-30"])
def test_an_end_that_is_no_date_is_told_before_anybody_is_asked(tmp_path, text, capsys):
    Home.create(tmp_path / "bank", Settings(party="bank", listen=""))
    words = ["model", "release", RUN, "--until", text, "--home", str(tmp_path / "bank")]
    assert main(words) == 2
    assert "neither a date nor a time" in capsys.readouterr().err
