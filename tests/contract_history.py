"""A history that touches every type of transaction, and the vectors made of it.

``python -m tests.contract_history VERSION`` writes those of a version anew. They say what the rules were
when ledgers were written under them, so those of a version that has been released never change.
"""

import json
import sys
from pathlib import Path

from parley.ledger import merkle
from parley.ledger.contract import genesis
from parley.ledger.contract.takeover import DOMAIN, Promise, promised

from tests.contract import (
    DAY,
    HOLDERS,
    START,
    Ledger,
    alignment,
    digest,
    finish,
    grant,
    key,
    plan_of,
    release,
    round_of,
    rounds_of,
    terms,
)

FOLDER = Path(__file__).parent / "unit" / "vectors"
VECTORS = {
    1: FOLDER / "contract.json",
    2: FOLDER / "contract-2.json",
    3: FOLDER / "contract-3.json",
    4: FOLDER / "contract-4.json",
}
"""By version of the contract."""


def history(version):
    """A ledger on which everything that a version of the contract knows has happened once."""
    ledger = Ledger(version=version)
    _found(ledger)
    _train(ledger)
    _use(ledger)
    _judge(ledger)
    _succeed(ledger)
    if version > 3:
        _move(ledger)
    return ledger


def _found(ledger):
    admit = {
        "kind": "admit",
        "member": "insurer",
        "role": "holder",
        "invitation": key("insurer", "invitation").public.hex(),
        "until": START + DAY,
    }
    ledger.vote(admit, "operator")
    publics = {kind: key("insurer", kind).public.hex() for kind in ("signing", "cosigning", "recovery")}
    ledger.do("insurer", "member.join", publics, signer=key("insurer", "invitation"))
    new = {"kind": "cosigning", "public": key("bank", "cosigning", 1).public.hex()}
    ledger.do("bank", "key.rotate", new, signer=key("bank", "recovery"))
    endpoint = {"address": "bank.example:7443", "certificate": "30820100"}
    ledger.do("bank", "member.announce", endpoint)
    node = {"node": digest("node")[:40], "address": "bank.example:26656"}
    ledger.do("bank", "member.announce-node", node)
    ledger.refuses("node-known", "operator", "member.announce-node", node)
    for owner in (*HOLDERS, "insurer"):
        ledger.register(owner)
    ledger.do("insurer", "table.withdraw", {"name": "table"})


def _train(ledger):
    given = ledger.do("operator", "grant.give", grant())
    ledger.do("bank", "plan.propose", {"terms": terms()})
    plan = plan_of("bank", terms())
    ledger.refuses("plan-known", "bank", "plan.propose", {"terms": terms()})
    ledger.do("bank", "run.propose", {"run": "run-1", "plan": plan})
    ledger.refuses("run-state", "bank", "run.align", alignment("run-1", "bank"))
    ledger.do("bank", "grant.use", {"grant": given, "plan": plan})
    ledger.do("operator", "grant.revoke", {"grant": given})
    ledger.do("bank", "run.start", {"run": "run-1"})
    leaf = merkle.leaf_hash(b"the only message").hex()
    for party in HOLDERS:
        ledger.do(party, "run.align", {**alignment("run-1", party, root=leaf), "messages": 1})
    ledger.do("bank", "run.pause", {"run": "run-1", "reason": "maintenance"})
    ledger.do("bank", "run.resume", {"run": "run-1"})
    for number in (1, 2):
        for party in HOLDERS:
            ledger.do(party, "round.commit", round_of("run-1", number, party))
    if ledger.spec.version > 1:
        ledger.refuses("round-gap", "operator", "rounds.commit", rounds_of("run-1", 4, 5, "operator"))
        ledger.do("bank", "rounds.commit", rounds_of("run-1", 3, 5, "bank"))
        ledger.do("operator", "rounds.commit", rounds_of("run-1", 2, 5, "operator"))
    shown = {"run": "run-1", "round": 0, "index": 0, "leaf": leaf, "path": []}
    ledger.do("operator", "round.reveal", shown)
    ledger.do("bank", "run.finish", finish("run-1"))
    ledger.do("operator", "run.share", {"run": "run-1", "share": digest("operator's share")})


def _use(ledger):
    given = next(ledger.state.keys("grant/")).removeprefix("grant/")
    ledger.refuses("grant-revoked", "bank", "grant.release", {"grant": given, **release("run-1")})
    for party in HOLDERS:
        ledger.do(party, "model.release", release("run-1"))
    batch = {"model": "run-1", "batch": 0, "root": digest("batch"), "count": 99}
    ledger.do("bank", "prediction.commit", batch)
    ledger.refuses("quota-exceeded", "bank", "prediction.commit", {**batch, "batch": 1})
    if ledger.spec.version > 2:
        merge = {"model": "run-1", "receiver": "bank"}
        for party in HOLDERS:
            ledger.do(party, "model.merge", merge)
        ledger.refuses("merged-already", "bank", "model.merge", merge)
        ledger.do("bank", "model.merge", {**merge, "receiver": "operator"})
    ledger.do("operator", "model.withdraw", {"model": "run-1"})
    second = ledger.plan(purpose="another", approve=False)
    ledger.do("operator", "plan.approve", {"plan": second})
    for run, kind in (("run-2", "run.cancel"), ("run-3", "run.fail")):
        ledger.do("bank", "run.propose", {"run": run, "plan": second})
        ledger.do("bank", kind, {"run": run, "reason": "enough"})
    ledger.do("bank", "run.propose", {"run": "run-4", "plan": second})
    ledger.time += 3600
    ledger.do("regulator", "run.expire", {"run": "run-4"})
    ledger.do("operator", "plan.withdraw", {"plan": second, "why": "over"})
    third = ledger.plan(purpose="a third", approve=False)
    ledger.do("operator", "plan.reject", {"plan": third, "why": "no"})


def _judge(ledger):
    evidence = {"evidence": digest("evidence"), "run": "run-1"}
    worth = {**evidence, "party": "operator", "measure": "shapley", "ppm": 31_000}
    ledger.do("bank", "contribution.record", worth)
    late = {**evidence, "about": "operator", "round": 2, "incident": "late", "count": 1}
    ledger.do("bank", "conduct.record", late)
    said = {"about": next(ledger.state.keys("conduct/")), "statement": digest("we were not")}
    ledger.do("operator", "member.appeal", said)
    shown = [
        ledger.signed("operator", "round.commit", round_of("run-1", 3, "operator", digest(root))).data.hex()
        for root in "ab"
    ]
    proof = {"kind": "commitments", "first": shown[0], "second": shown[1]}
    ledger.do("bank", "evidence.submit", {"proof": proof})
    if ledger.spec.version > 1:
        several = ledger.signed("operator", "rounds.commit", rounds_of("run-1", 1, 3, "operator"))
        proof = {"kind": "rounds", "round": 3, "first": shown[0], "second": several.data.hex()}
        ledger.refuses("evidence-known", "bank", "evidence.submit", {"proof": proof})
    ledger.refuses("member-suspended", "operator", "plan.propose", {"terms": terms()})
    ledger.vote({"kind": "reinstate", "member": "operator", "why": "a mistake"}, "regulator")


def _succeed(ledger):
    body = _takeover(ledger, "operator", 1)
    ledger.do("operator", "sequencer.takeover", body, signer=key("operator", "cosigning"))


def _takeover(ledger, successor, epoch):
    promises = []
    for member in ("insurer", "operator", "regulator"):
        size = len(ledger.history) + 1
        bare = Promise(member=member, era=epoch - 1, size=size, root=digest("root"), signature="00" * 64)
        text = promised(ledger.consortium, epoch, successor, bare)
        signature = key(member, "cosigning").sign(DOMAIN, text).hex()
        promises.append(bare.but(signature=signature).value())
    return {"epoch": epoch, "promises": promises}


def _move(ledger):
    """Towards CometBFT, with another sequencer by promises and a third by a vote, until it is too late."""
    cosigning = key("regulator", "cosigning")
    ledger.vote({"kind": "engine", "height": ledger.height + 9}, "operator", "regulator")
    ledger.do("regulator", "sequencer.takeover", _takeover(ledger, "regulator", 2), signer=cosigning)
    ledger.vote({"kind": "sequencer", "member": "insurer"}, "operator", "regulator")
    ledger.register("bank", "last")
    late = _takeover(ledger, "regulator", 3)
    ledger.refuses("takeover-moot", "regulator", "sequencer.takeover", late, signer=cosigning)


def vectors(version):
    """Genesis, signed transactions with their blocks, receipts, and the last state."""
    ledger = history(version)
    transactions = [
        {
            "sender": transaction.sender,
            "key": transaction.key,
            "type": transaction.type,
            "body": transaction.body,
            "expires": transaction.expires,
            "nonce": transaction.nonce,
            "height": block.height,
            "time": block.time,
            "receipt": receipt.value(),
        }
        for (transaction, block), receipt in zip(ledger.history, ledger.receipts, strict=True)
    ]
    return {
        "genesis": ledger.spec.value(),
        "consortium": ledger.consortium,
        "first_state": dict(genesis(ledger.spec)),
        "transactions": transactions,
        "last_state": ledger.state.values,
        "last_state_digest": ledger.state.digest(),
    }


if __name__ == "__main__":
    chosen = int(sys.argv[1])
    VECTORS[chosen].write_text(json.dumps(vectors(chosen), indent=1, sort_keys=True) + "\n")
