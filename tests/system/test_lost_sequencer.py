"""The sequencer's machine is lost for good: the other parties hand its task over and go on."""

import json
import shutil

import pytest

from parley.ledger.checkpoint import Checkpoint
from parley.store.keys import LedgerKeys

from tests.system.parties import caught_up, consortium, failed, history, open_vote, parley, until


@pytest.fixture
def members(tmp_path):
    with consortium(tmp_path) as all_three:
        yield all_three


def sequencer(party):
    return party.done("ledger", "status")["sequencer"]


def verified(party, folder):
    copy = folder / f"{party.name}.ledger"
    party.done("ledger", "export", copy)
    answer = parley("ledger", "verify", copy, "--home", folder / "none").answer
    return answer, copy.read_bytes().splitlines()[1 : answer["leaves"] + 1]


def test_the_others_go_on_without_it_and_it_follows_when_an_old_copy_of_it_comes_back(members, tmp_path):
    bank, operator, regulator = members
    assert until(lambda: {*operator.done("ledger", "status")["engine"]["connected"]}) == {"bank"}
    assert bank.stop() == 0
    backup = tmp_path / "backup"
    shutil.copytree(bank.home, backup)
    bank.up()
    bank.done("grant", "--to", "operator", "--table", "accounts", "--purpose", "later than the backup")
    for party in (operator, regulator):
        caught_up(party, bank)
    until(lambda: operator.done("ledger", "status")["final"] == len(history(bank)))
    final = history(bank)
    bank.kill()
    shutil.rmtree(bank.home)

    failed(operator.do("consortium", "promise", "bank"), "usage", "not-a-successor", 2)
    assert operator.done("consortium", "promise", "operator") == {"successor": "operator", "epoch": 1}
    assert sequencer(operator) == "bank"
    regulator.done("consortium", "promise", "operator")
    until(lambda: sequencer(operator) == sequencer(regulator) == "operator")
    regulator.done("propose", "threshold", "admit", 1, 1)
    operator.done("grant", "--to", "bank", "--table", "subscribers", "--purpose", "after the handover")
    caught_up(regulator, operator)
    assert [each["digest"] for each in history(operator)[: len(final)]] == [each["digest"] for each in final]
    (found, leaves), (other, same) = (verified(party, tmp_path) for party in (operator, regulator))
    assert leaves == same
    assert found["final"] == found["leaves"] == other["leaves"] == len(history(operator))
    takeover = next(each for each in history(regulator) if each["type"] == "sequencer.takeover")
    assert takeover["words"] == "orders from now on, as 2 members have promised"

    shutil.copytree(backup, bank.home, ignore=shutil.ignore_patterns("high-water.json"))
    bank.up()
    caught_up(bank, operator)
    assert sequencer(bank) == "operator"
    bank.done("data", "add", "again", tmp_path / "bank.csv", "--id", "id")
    caught_up(operator, bank)
    until(lambda: bank.done("ledger", "status")["final"] == len(history(bank)))
    assert verified(bank, tmp_path)[1] == verified(operator, tmp_path)[1]
    assert bank.done("ledger", "status")["halted"] == ""


def test_a_vote_hands_the_task_over_while_the_sequencer_runs(members):
    bank, operator, regulator = members
    proposed = bank.done("propose", "sequencer", "regulator")
    until(lambda: open_vote(operator, proposed["id"]))
    operator.done("vote", proposed["id"], "yes")
    until(lambda: {sequencer(party) for party in members} == {"regulator"})
    operator.done("grant", "--to", "bank", "--table", "subscribers", "--purpose", "after the vote")
    engine = until(lambda: connected(regulator, "bank", "operator"))
    assert (engine["engine"], engine["voters"]) == ("embedded", ["regulator"])


def connected(party, *others):
    engine = party.done("ledger", "status")["engine"]
    return engine if engine["connected"] == list(others) else None


def test_the_part_that_must_say_yes_is_put_to_the_vote(members):
    bank, operator, regulator = members
    failed(bank.do("propose", "threshold", "admit", 1, 2), "refused", "ledger-threshold-invalid", 3)
    failed(bank.do("propose", "threshold", "lunch", 1, 1), "usage", "bad-arguments", 2)
    failed(bank.do("propose", "version", 2), "refused", "ledger-proposal-moot", 3)
    failed(bank.do("propose", "version", 1000), "usage", "version-unknown", 2)
    proposed = bank.done("propose", "threshold", "engine", 1, 1)
    assert proposed["subject"] == "require 1 of 1 for engine"
    until(lambda: open_vote(operator, proposed["id"]))
    assert operator.done("vote", proposed["id"], "yes")["status"] == "accepted"
    failed(bank.do("propose", "threshold", "engine", 1, 1), "refused", "ledger-proposal-moot", 3)
    assert json.dumps(bank.done("votes", "--all")["votes"]).count("accepted") >= 1
    caught_up(regulator, operator)


def test_new_cosigning_keys_are_used_at_once_and_convict_who_signs_two_histories(members, tmp_path):
    bank, operator, regulator = members
    for party in (bank, operator):
        party.done("consortium", "rotate", "cosigning")
    assert regulator.stop() == 0  # now both must sign, with their new keys
    bank.done("propose", "threshold", "engine", 1, 1)
    for party in (bank, operator):
        party.kill()
        party.up()
    operator.done("propose", "threshold", "version", 1, 1)
    caught_up(bank, operator)
    status = bank.done("ledger", "status")
    assert (status["halted"], set(status["signed"]) >= {"bank", "operator"}) == ("", True)
    regulator.up()
    caught_up(regulator, bank)
    assert regulator.done("ledger", "verify")["leaves"] == len(history(bank))

    file = tmp_path / "evidence.json"
    failed(bank.do("ledger", "accuse", file), "usage", "file-unreadable", 2)
    file.write_text(json.dumps({"what": "", "notes": two_histories(operator, status["consortium"])}))
    number = bank.done("ledger", "accuse", file)["records"]["operator"]
    assert "shows evidence of checkpoints" in history(bank)[number]["words"]
    standing = {each["name"]: each["standing"] for each in bank.done("members")["members"]}
    assert standing["operator"] == "suspended"
    failed(regulator.do("ledger", "accuse", file), "refused", "ledger-evidence-known", 3)


def two_histories(party, consortium):
    """Two checkpoints of one size, signed with a party's present key."""
    signer = LedgerKeys.load(party.home / "keys").cosigning
    heads = [Checkpoint.seal(f"parley/{consortium}", 7, bytes([root] * 32), bytes(32)) for root in range(2)]
    return [head.sign(signer).encoded().decode() for head in heads]
