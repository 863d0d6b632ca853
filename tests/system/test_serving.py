"""A released model in use: batches and single requests, their accounts, and what goes wrong meanwhile."""

import os
import signal
import subprocess
import time

import polars as pl
import pytest

from parley.data.sources import parse_source, read

from tests.system.parties import arguments, caught_up, consortium, environment, failed, history, until
from tests.system.released import ENOUGH, answerers, joined, released, serving, trained

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("serving")


@pytest.fixture(scope="module")
def members(folder):
    with consortium(folder) as all_three:
        yield all_three


@pytest.fixture(scope="module")
def model(folder, members):
    bank, operator, _ = members
    return trained(bank, operator, folder)


@pytest.fixture(scope="module")
def expected(members, model):
    bank, operator, _ = members
    return joined(model, bank=bank.home, operator=operator.home)


@pytest.fixture(scope="module")
def service(members, model):
    bank, operator, _ = members
    what = failed(bank.do("serve", model), "refused", "model-not-released", 3)
    assert "trained" in what
    released(bank, operator, model, ENOUGH // 2)
    with serving(bank, model, "--fallback", "active-only", "--deadline", "2000") as service:
        yield service


def ids_of(expected, count=20):
    return sorted(expected)[:count]


def test_single_requests_and_batches_give_what_training_gave(members, folder, model, expected, service):
    bank = members[0]
    listed = folder / "listed.csv"
    pl.DataFrame({"customer": list(expected)}).write_csv(listed)
    out = folder / "scores.parquet"
    done = bank.done("predict", model, "--ids", listed, "--column", "customer", "--out", out)
    assert (done["ids"], done["basis"]) == (
        len(expected),
        {"joint": len(expected), "active-only": 0, "missing": 0},
    )
    scores = pl.read_parquet(out)
    assert dict(zip(scores["id"].cast(pl.String), scores["margin"], strict=True)) == expected
    some = ids_of(expected)
    status, answer = service.ask(*some)
    assert status == 200, answer
    assert {each["id"]: each["margin"][0] for each in answer} == {each: expected[each] for each in some}
    by_id = dict(zip(scores["id"].cast(pl.String), scores["score"], strict=True))
    assert {each["id"]: each["score"] for each in answer} == {each: by_id[each] for each in some}


def test_requests_go_straight_to_what_answers(service):
    until(lambda: "operator is asked directly" in service.log.read_text())


def test_ids_that_a_party_lacks_get_the_declared_fallback_and_are_counted(members, folder, model, service):
    bank = members[0]
    ours, theirs = (
        read(parse_source(str(folder / f"{name}.csv")))["id"].cast(pl.String) for name in ("bank", "operator")
    )
    keys = set(theirs.str.replace_all(r"\D", ""))
    ours = [each for each in ours if "".join(filter(str.isdigit, each)) not in keys][:3]
    assert ours
    status, answer = service.ask(*ours, "999999999")
    assert status == 200, answer
    assert [each["basis"] for each in answer] == ["active-only"] * len(ours) + ["missing"]
    assert all("score" in each for each in answer[:-1])
    assert "score" not in answer[-1]
    listed, out = folder / "few.csv", folder / "few.parquet"
    pl.DataFrame({"id": [*ours, "999999999"]}).write_csv(listed)
    what = failed(bank.do("predict", model, "--ids", listed, "--out", out), "usage", "unknown-ids", 2)
    assert "999999999" in what
    done = bank.done(
        "predict", model, "--ids", listed, "--out", folder / "few.csv.csv", "--fallback", "missing"
    )
    assert done["basis"] == {"joint": 0, "active-only": 0, "missing": len(ours) + 1}


def test_a_prediction_is_proven_without_showing_the_others(members, folder, model, expected, service):
    bank, _, regulator = members
    status, answer = service.ask(*ids_of(expected, 3))
    assert status == 200
    asked = answer[1]
    proof = folder / "decision.proof"
    until(lambda: bank.do("model", "prove", model, asked["receipt"], "--out", proof).code == 0)
    caught_up(regulator, bank)
    keys = folder / "test.keys"
    regulator.done("ledger", "keys", "--out", keys)
    shown = bank.done("ledger", "check-proof", proof, "--keys", keys)
    assert (shown["id"], shown["margins"], shown["sender"]) == (asked["id"], asked["margin"], "bank")
    assert answer[0]["id"].encode().hex() not in proof.read_text()
    spoilt = folder / "spoilt.proof"
    hexed = asked["id"].encode().hex()
    spoilt.write_text(proof.read_text().replace(hexed, ids_of(expected, 3)[0].encode().hex()))
    failed(bank.do("ledger", "check-proof", spoilt, "--keys", keys), "refused", "receipt-refused", 3)
    failed(bank.do("model", "prove", model, "0123456789abcdef.0"), "usage", "no-such-prediction", 2)


def test_every_answer_is_counted_on_the_ledger(members, expected, service):
    bank = members[0]
    counted = lambda: sum(  # noqa: E731
        each["body"]["count"] for each in history(bank) if each["type"] == "prediction.commit"
    )
    until(lambda: counted() == service.shown()["used"])
    before = counted()
    assert service.ask(*ids_of(expected, 7))[0] == 200
    until(lambda: counted() == before + 7)


def test_a_passive_party_that_hangs_costs_a_deadline_and_then_nothing(members, expected, service):
    operator, some = members[1], ids_of(expected, 2)
    assert service.joint(*some)
    (worker,) = answerers(operator)
    os.kill(worker, signal.SIGSTOP)
    operator.process.send_signal(signal.SIGSTOP)
    try:
        for _ in range(4):
            status, answer = service.ask(*some)
            assert status == 200, answer
            assert {each["basis"] for each in answer} == {"active-only"}
        assert until(lambda: service.shown()["peers"][0]["state"] != "ready")
    finally:
        os.kill(worker, signal.SIGCONT)
        operator.process.send_signal(signal.SIGCONT)
    until(lambda: service.joint(*some))


@pytest.mark.soak
def test_a_passive_party_that_is_killed_and_comes_back_is_enrolled_anew(members, expected, service):
    operator, some = members[1], ids_of(expected, 2)
    (worker,) = answerers(operator)
    os.kill(worker, signal.SIGKILL)
    until(lambda: service.joint(*some) and answerers(operator) not in ([], [worker]))
    operator.kill()
    status, answer = service.ask(*some)
    assert status == 200, answer
    assert {each["basis"] for each in answer} == {"active-only"}
    operator.up()
    until(lambda: service.joint(*some))


@pytest.mark.soak
def test_a_replaced_certificate_costs_a_connection_and_no_enrolment(members, expected, service):
    bank, operator, _ = members
    some = ids_of(expected, 2)
    until(lambda: service.joint(*some))
    enrolments = lambda: operator.said().count("can ask model")  # noqa: E731
    connections = lambda: service.log.read_text().count("operator is asked directly")  # noqa: E731
    before = enrolments(), connections()
    assert min(before) > 0
    bank.done("identity", "rotate")
    bank.done("identity", "replace")
    until(lambda: connections() > before[1])
    until(lambda: service.joint(*some))
    assert enrolments() == before[0]


@pytest.mark.soak
def test_while_our_own_party_is_away_nothing_is_answered(members, expected, service):
    bank, some = members[0], ids_of(expected, 2)
    bank.stop()
    status, answer = service.ask(*some)
    assert (status, answer["code"]) == (503, "own-party-away")
    bank.up()
    until(lambda: service.joint(*some))


@pytest.mark.soak
def test_a_batch_that_is_killed_goes_on_and_has_every_id_once(members, folder, model, expected, service):
    bank = members[0]
    listed, out = folder / "many.csv", folder / "many.parquet"
    many = [*expected, *(f"9{number:09}" for number in range(200_000))]
    pl.DataFrame({"id": many}).write_csv(listed)
    words = arguments(
        "predict", model, "--ids", listed, "--out", out, "--fallback", "missing", "--home", bank.home
    )
    used = service.shown()["used"]
    process = subprocess.Popen([*words, "--json"], stdout=subprocess.DEVNULL, env=environment())
    until(lambda: len(list(folder.glob("many.parquet.parts/*.parquet"))) >= 1 or process.poll() is not None)
    process.kill()
    process.wait()
    assert not out.exists()
    done = bank.done("predict", model, "--ids", listed, "--out", out, "--fallback", "missing")
    assert done["resumed"] >= 1
    scores = pl.read_parquet(out)
    assert scores["id"].cast(pl.String).to_list() == many
    assert not out.with_name("many.parquet.parts").exists()
    until(lambda: service.shown()["used"] == used + len(many))


def test_bad_requests_are_refused_each_with_its_own_status(model, service):
    path = f"/v1/models/{model}/predict"
    ask = lambda body, **more: service.request("POST", path, body, **more)  # noqa: E731
    assert ask({"ids": "x"})[0] == 400
    assert ask({"ids": []})[0] == 400
    assert ask({"ids": ["1"] * 2000})[0] in (400, 413)
    assert ask({"ids": ["1"]}, key="wrong")[0] == 401
    assert service.request("POST", "/v1/models/run-ffff/predict", {"ids": ["1"]})[0] == 404
    assert service.request("GET", path)[0] == 405


def test_over_the_quota_and_withdrawn_nothing_is_answered(members, folder, expected):
    bank, operator, _ = members
    model = trained(bank, operator, folder, trees=2, predictions=50)
    released(bank, operator, model, 10)
    some = ids_of(expected, 8)
    with serving(bank, model) as service:
        assert service.ask(*some)[0] == 200
        status, answer = service.ask(*some)
        assert (status, answer["code"]) == (429, "predictions-used-up")
        assert service.ask(*some[:2])[0] == 200
        assert service.ask(some[0])[1]["code"] == "predictions-used-up"
        operator.done("model", "withdraw", model)
        until(lambda: service.ask(some[0])[1]["code"] == "model-withdrawn")
        assert service.ask(some[0])[0] == 403
    failed(bank.do("serve", model), "refused", "model-withdrawn", 3)


@pytest.mark.soak
def test_a_passive_party_that_only_dials_out_is_asked_through_the_link(members, expected, service):
    operator, some = members[1], ids_of(expected, 2)
    until(lambda: service.joint(*some))
    file = operator.home / "parley.toml"
    before = file.read_text()
    operator.stop()
    try:
        file.write_text(before.replace(f'listen = "{operator.address}"', 'listen = ""'))
        operator.up()
        connections = service.log.read_text().count("operator is asked directly")
        until(lambda: service.joint(*some))
        assert service.log.read_text().count("operator is asked directly") == connections
    finally:
        operator.stop()
        file.write_text(before)
        operator.up()
    until(lambda: service.joint(*some))


@pytest.mark.soak
def test_load_goes_on_through_restarts_of_everybody_else(members, expected, service):
    bank, operator, regulator = members
    some = ids_of(expected, 5)
    for party in (operator, regulator, bank) * 2:
        party.kill()
        for _ in range(20):
            assert service.ask(*some)[0] in (200, 503)
            time.sleep(0.02)
        party.up()
        until(lambda: service.joint(*some))
