"""Models: they form when all shares are committed, and are used within what every owner released."""

import pytest

from tests.contract import DAY, HOLDERS, START, WITH_REGULATOR, Ledger, digest, finish, grant, plan_of, terms
from tests.contract import release as terms_of_release


@pytest.fixture
def ledger():
    return Ledger()


def batch(number=0, count=10, model="run-1"):
    return {"model": model, "batch": number, "root": digest(f"batch {number}"), "count": count}


def release_by(ledger, *owners, run="run-1", **changes):
    for owner in owners:
        ledger.do(owner, "model.release", terms_of_release(run, **changes))


def test_a_model_is_trained_when_every_share_is_committed(ledger):
    ledger.training()
    ledger.do("bank", "run.finish", finish("run-1"))
    assert ledger["model/run-1"]["status"] == "forming"
    ledger.refuses("share-known", "bank", "run.share", {"run": "run-1", "share": digest("x")})
    ledger.refuses("model-not-trained", "bank", "model.release", terms_of_release("run-1"))
    ledger.do("operator", "run.share", {"run": "run-1", "share": digest("s")})
    assert ledger["run/run-1"]["state"] == "finished"
    model = ledger["model/run-1"]
    assert (model["status"], model["rounds"]) == ("trained", 0)
    assert model["shares"] == {"bank": digest("bank's share"), "operator": digest("s")}
    assert model["metrics"] == [{"name": "auc", "ppm": 780_000}]


def test_metrics_stand_in_order(ledger):
    ledger.training()
    metrics = [{"name": "ks", "ppm": 1}, {"name": "auc", "ppm": 1}]
    ledger.refuses("metrics-invalid", "bank", "run.finish", {**finish("run-1"), "metrics": metrics})


def test_a_model_is_released_when_every_owner_consents_to_the_same_terms(ledger):
    ledger.model()
    ledger.refuses("model-not-released", "bank", "prediction.commit", batch())
    ledger.do("bank", "model.release", terms_of_release("run-1", quota=50))
    ledger.do("operator", "model.release", terms_of_release("run-1", quota=60))
    assert ledger["model/run-1"]["status"] == "trained"
    ledger.do("bank", "model.release", terms_of_release("run-1", quota=60))
    assert ledger["model/run-1"]["status"] == "released"
    assert ledger["model/run-1"]["release"]["quota"] == 60
    assert not list(ledger.state.keys("release/"))


def test_only_an_owner_releases():
    ledger = Ledger({**WITH_REGULATOR, "retailer": "holder"})
    ledger.model()
    ledger.refuses("not-an-owner", "retailer", "model.release", terms_of_release("run-1"))
    ledger.refuses("model-unknown", "bank", "model.release", terms_of_release("none"))
    ledger.refuses("not-an-owner", "retailer", "model.withdraw", {"model": "run-1"})


def test_predictions_stay_within_the_quota(ledger):
    ledger.released(quota=25)
    ledger.do("bank", "prediction.commit", batch(0))
    ledger.do("bank", "prediction.commit", batch(1))
    ledger.refuses("quota-exceeded", "bank", "prediction.commit", batch(2))
    ledger.do("bank", "prediction.commit", batch(2, count=5))
    ledger.refuses("quota-exceeded", "bank", "prediction.commit", batch(3, count=1))
    assert (ledger["model/run-1"]["used"], ledger["model/run-1"]["batches"]) == (25, 3)


def test_batches_follow_one_another_and_come_from_the_active_party(ledger):
    ledger.released()
    ledger.refuses("batch-gap", "bank", "prediction.commit", batch(1))
    ledger.refuses("not-the-active-party", "operator", "prediction.commit", batch())


def test_a_release_expires(ledger):
    ledger.released()
    ledger.time = START + 21 * DAY
    ledger.refuses("release-expired", "bank", "prediction.commit", batch())


@pytest.mark.parametrize("until", [START, START + 31 * DAY])
def test_a_release_lies_within_the_time_of_the_plan(ledger, until):
    ledger.model()
    ledger.refuses("time-out-of-range", "bank", "model.release", terms_of_release("run-1", until=until))


def test_a_plan_bounds_the_predictions_of_all_its_models(ledger):
    plan = ledger.released(quota=600)
    ledger.do("bank", "prediction.commit", batch(count=100))
    ledger.refuses("quota-exceeded", "bank", "model.release", terms_of_release("run-1", quota=901))
    release_by(ledger, *HOLDERS, quota=900)
    assert ledger[f"plan/{plan}"]["predictions"] == 1000
    assert ledger["model/run-1"]["used"] == 0
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    assert ledger[f"plan/{plan}"]["predictions"] == 100


def test_a_withdrawn_model_answers_no_more(ledger):
    ledger.released()
    release_by(ledger, "bank", quota=7)
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    assert not list(ledger.state.keys("release/"))
    ledger.refuses("model-withdrawn", "bank", "prediction.commit", batch())
    ledger.refuses("model-withdrawn", "bank", "model.release", terms_of_release("run-1"))
    ledger.refuses("model-withdrawn", "bank", "model.withdraw", {"model": "run-1"})


def test_with_a_suspended_owner_a_model_answers_no_more(ledger):
    ledger.released()
    ledger.vote({"kind": "suspend", "member": "operator", "why": "x"}, "regulator")
    ledger.refuses("party-not-active", "bank", "prediction.commit", batch())


def granted(ledger):
    """A trained model whose plan a grant let through."""
    for owner in HOLDERS:
        ledger.register(owner)
    given = ledger.do("operator", "grant.give", grant())
    plan = plan_of("bank", terms())
    ledger.do("bank", "plan.propose", {"terms": terms()})
    ledger.do("bank", "grant.use", {"grant": given, "plan": plan})
    ledger.do("bank", "run.propose", {"run": "run-1", "plan": plan})
    ledger.do("bank", "run.start", {"run": "run-1"})
    for party in HOLDERS:
        body = {"run": "run-1", "rows": 5, "root": digest(party), "messages": 1}
        ledger.do(party, "run.align", body)
    ledger.do("bank", "run.finish", finish("run-1"))
    ledger.do("operator", "run.share", {"run": "run-1", "share": digest("s")})
    return given


def test_a_grant_that_let_the_plan_through_releases_the_model_too(ledger):
    given = granted(ledger)
    ledger.do("bank", "grant.release", {"grant": given, **terms_of_release("run-1")})
    assert ledger["release/run-1/operator"]["grant"] == given
    release_by(ledger, "bank")
    assert ledger["model/run-1"]["status"] == "released"


def test_a_grant_releases_nothing_else(ledger):
    given = granted(ledger)
    body = {"grant": given, **terms_of_release("run-1")}
    ledger.refuses("not-permitted", "operator", "grant.release", body)
    other = ledger.do("operator", "grant.give", grant())
    ledger.refuses("grant-mismatch", "bank", "grant.release", {**body, "grant": other})
    late = {"grant": given, **terms_of_release("run-1", until=START + 31 * DAY)}
    ledger.refuses("grant-expired", "bank", "grant.release", late)
    ledger.do("operator", "grant.revoke", {"grant": given})
    ledger.refuses("grant-revoked", "bank", "grant.release", body)


# ── contribution and conduct ──────────────────────────────────────────────────────────────────────────────


def contribution(party="operator", measure="shapley"):
    return {
        "run": "run-1",
        "party": party,
        "measure": measure,
        "ppm": -120,
        "evidence": digest("how"),
    }


def conduct(about="operator"):
    return {
        "run": "run-1",
        "about": about,
        "round": 1,
        "incident": "late",
        "count": 2,
        "evidence": digest("log"),
    }


def test_the_active_party_records_a_contribution_once(ledger):
    ledger.model()
    ledger.do("bank", "contribution.record", contribution())
    assert ledger["contribution/run-1/operator/shapley"]["ppm"] == -120
    ledger.refuses("record-known", "bank", "contribution.record", contribution())
    ledger.refuses("not-a-participant", "bank", "contribution.record", contribution("regulator"))
    ledger.refuses("not-the-active-party", "operator", "contribution.record", contribution("bank"))


def test_participants_record_the_conduct_of_one_another(ledger):
    ledger.training()
    ledger.do("bank", "conduct.record", conduct())
    path = f"conduct/operator/{ledger.receipts[-1].number:012}"
    assert ledger[path]["incident"] == "late"
    ledger.do("operator", "member.appeal", {"about": path, "statement": digest("we were not")})
    ledger.refuses("about-itself", "bank", "conduct.record", conduct("bank"))
    ledger.refuses("not-a-participant", "bank", "conduct.record", conduct("regulator"))
    ledger.refuses("body-invalid", "bank", "conduct.record", {**conduct(), "incident": "rude"})
