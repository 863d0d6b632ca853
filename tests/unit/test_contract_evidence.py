"""Evidence: two statements of one key that cannot both be true suspend its member at once."""

import pytest

from parley.ledger import merkle, notes
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract import log_origin
from parley.ledger.notes import SignedNote

from tests.contract import Ledger, alignment, digest, key, round_of, rounds_of

OTHER = digest("another consortium")


@pytest.fixture
def ledger():
    return Ledger()


def checkpoint(ledger, root, size=7, origin=None, state="state"):
    origin = origin or log_origin(ledger.consortium)
    return Checkpoint.seal(origin, size, bytes.fromhex(digest(root)), bytes.fromhex(digest(state)))


def cosigned(point, signer, time=5):
    return SignedNote(point.text, (notes.cosign("bank", point.text, signer, time),))


def checkpoints(first, second, signer=None):
    return {
        "proof": {
            "kind": "checkpoints",
            "key": (signer or key("bank", "cosigning")).key_id,
            "name": "bank",
            "first": first.encoded().hex(),
            "second": second.encoded().hex(),
        }
    }


def commitments(first, second):
    return {"proof": {"kind": "commitments", "first": first.data.hex(), "second": second.data.hex()}}


def test_two_checkpoints_of_one_size_suspend_the_signer(ledger):
    signer = key("bank", "cosigning")
    one, other = checkpoint(ledger, "a"), checkpoint(ledger, "b")
    body = checkpoints(one.sign(signer), cosigned(other, signer))
    ledger.do("operator", "evidence.submit", body)
    assert ledger["member/bank"]["standing"] == "suspended"
    assert ledger["member/bank"]["cause"] == "evidence/checkpoints/7/bank"
    assert ledger["evidence/checkpoints/7/bank"]["by"] == "operator"
    ledger.refuses("evidence-known", "regulator", "evidence.submit", body)


def test_two_states_of_one_size_suspend_the_signer(ledger):
    signer = key("bank", "cosigning")
    one, other = checkpoint(ledger, "a"), checkpoint(ledger, "a", state="other")
    ledger.do("operator", "evidence.submit", checkpoints(cosigned(one, signer), cosigned(other, signer)))
    assert ledger["member/bank"]["standing"] == "suspended"


def test_checkpoints_that_agree_prove_nothing(ledger):
    signer = key("bank", "cosigning")
    one = checkpoint(ledger, "a")
    for other in (one, checkpoint(ledger, "b", size=8), checkpoint(ledger, "b", origin=f"parley/{OTHER}")):
        body = checkpoints(one.sign(signer), cosigned(other, signer, time=6))
        ledger.refuses("evidence-invalid", "operator", "evidence.submit", body)
    foreign = [checkpoint(ledger, root, origin=f"parley/{OTHER}") for root in "ab"]
    body = checkpoints(*(cosigned(point, signer) for point in foreign))
    ledger.refuses("evidence-invalid", "operator", "evidence.submit", body)


def test_checkpoints_by_another_key_prove_nothing(ledger):
    signer = key("operator", "cosigning")
    one, other = (cosigned(checkpoint(ledger, root), signer) for root in "ab")
    ledger.refuses("evidence-invalid", "operator", "evidence.submit", checkpoints(one, other))
    wrong_kind = checkpoints(one, other, key("bank", "signing"))
    ledger.refuses("evidence-invalid", "operator", "evidence.submit", wrong_kind)
    unknown = checkpoints(one, other, key("nobody", "cosigning"))
    ledger.refuses("evidence-invalid", "operator", "evidence.submit", unknown)


def of_rounds(number, first, second):
    proof = {"kind": "rounds", "round": number, "first": first.data.hex(), "second": second.data.hex()}
    return {"proof": proof}


def test_two_commitments_to_one_round_suspend_the_signer(ledger):
    ledger.training()
    first = ledger.signed("operator", "round.commit", round_of("run-1", 1, "operator"))
    second = ledger.signed("operator", "round.commit", round_of("run-1", 1, "operator", digest("other")))
    ledger.execute(first.transaction)
    assert ledger.execute(second.transaction).code == "commitment-conflict"
    assert ledger["member/operator"]["standing"] == "active"
    ledger.do("bank", "evidence.submit", commitments(first, second))
    assert ledger["member/operator"]["standing"] == "suspended"
    ledger.refuses("evidence-known", "bank", "evidence.submit", commitments(second, first))


def test_two_commitments_to_several_rounds_suspend_the_signer_of_both(ledger):
    first = ledger.signed("operator", "rounds.commit", rounds_of("run-1", 1, 4, "operator"))
    second = ledger.signed("operator", "rounds.commit", rounds_of("run-1", 4, 6, "operator", digest("other")))
    single = ledger.signed("operator", "round.commit", round_of("run-1", 5, "operator"))
    agrees = ledger.signed("operator", "round.commit", round_of("run-1", 4, "operator"))
    of_another = ledger.signed("bank", "rounds.commit", rounds_of("run-1", 1, 4, "bank"))
    for number, one, other in (
        (3, first, second),
        (5, first, second),
        (4, first, single),
        (4, first, agrees),
        (4, of_another, second),
        (4, agrees, first),
    ):
        ledger.refuses("evidence-invalid", "bank", "evidence.submit", of_rounds(number, one, other))
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", commitments(first, second))
    ledger.do("bank", "evidence.submit", of_rounds(5, single, second))
    assert ledger["member/operator"]["standing"] == "suspended"
    ledger.refuses("evidence-known", "bank", "evidence.submit", of_rounds(5, second, single))


def test_two_alignments_suspend_the_signer(ledger):
    first = ledger.signed("operator", "run.align", alignment("run-1", "operator"))
    second = ledger.signed("operator", "run.align", alignment("run-1", "operator", root=digest("other")))
    ledger.do("bank", "evidence.submit", commitments(first, second))
    assert ledger["member/operator"]["standing"] == "suspended"


def test_what_is_proven_once_suspends_once(ledger):
    first = ledger.signed("operator", "run.align", alignment("run-1", "operator"))
    second = ledger.signed("operator", "run.align", alignment("run-1", "operator", root=digest("other")))
    ledger.do("bank", "evidence.submit", commitments(first, second))
    ledger.vote({"kind": "reinstate", "member": "operator", "why": "a mistake"}, "regulator")
    ledger.refuses("evidence-known", "bank", "evidence.submit", commitments(first, second))


def test_commitments_that_agree_prove_nothing(ledger):
    first = ledger.signed("operator", "round.commit", round_of("run-1", 1, "operator"))
    for other in (
        ledger.signed("operator", "round.commit", round_of("run-1", 1, "operator"), nonce="again"),
        ledger.signed("operator", "round.commit", round_of("run-1", 2, "operator")),
        ledger.signed("operator", "round.commit", round_of("run-2", 1, "operator", digest("other"))),
        ledger.signed("bank", "round.commit", round_of("run-1", 1, "bank")),
        ledger.signed("operator", "run.cancel", {"run": "run-1", "reason": "x"}),
        ledger.signed("operator", "round.commit", {"run": "run-1"}),
    ):
        ledger.refuses("evidence-invalid", "bank", "evidence.submit", commitments(first, other))


def test_statements_that_are_not_the_members_prove_nothing(ledger):
    body = round_of("run-1", 1, "operator", digest("other"))
    first = ledger.signed("operator", "round.commit", round_of("run-1", 1, "operator"))
    thief = ledger.signed("operator", "round.commit", body, signer=key("bank", "signing"))
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", commitments(first, thief))
    foreign = Ledger(nonce="another").signed("operator", "round.commit", body)
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", commitments(first, foreign))
    forged = bytearray(ledger.signed("operator", "round.commit", body).data)
    at = forged.index(b'"signature":"') + len(b'"signature":"')
    forged[at : at + 2] = b"00" if forged[at : at + 2] != b"00" else b"11"
    proof = {"kind": "commitments", "first": first.data.hex(), "second": forged.hex()}
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", {"proof": proof})
    proof = {"kind": "commitments", "first": first.data.hex(), "second": b"{}".hex()}
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", {"proof": proof})


def test_a_key_replaced_by_recovery_convicts_nobody(ledger):
    first = ledger.signed("operator", "run.align", alignment("run-1", "operator"))
    second = ledger.signed("operator", "run.align", alignment("run-1", "operator", root=digest("other")))
    new = {"kind": "signing", "public": key("operator", "signing", 1).public.hex()}
    ledger.do("operator", "key.rotate", new, signer=key("operator", "recovery"))
    ledger.refuses("evidence-key-stolen", "bank", "evidence.submit", commitments(first, second))


def test_a_key_replaced_by_itself_still_convicts(ledger):
    first = ledger.signed("operator", "run.align", alignment("run-1", "operator"))
    second = ledger.signed("operator", "run.align", alignment("run-1", "operator", root=digest("other")))
    ledger.do(
        "operator", "key.rotate", {"kind": "signing", "public": key("operator", "signing", 1).public.hex()}
    )
    ledger.do("bank", "evidence.submit", commitments(first, second))
    assert ledger["member/operator"]["standing"] == "suspended"


def reveal(leaf):
    return {"run": "run-1", "round": 0, "index": 0, "leaf": leaf, "path": []}


def test_a_reveal_that_does_not_match_suspends_the_signer(ledger):
    ledger.aligning()
    leaf = merkle.leaf_hash(b"message").hex()
    body = {**alignment("run-1", "operator", root=leaf), "messages": 1}
    honest, false = (ledger.signed("operator", "round.reveal", reveal(one)) for one in (leaf, digest("no")))

    def proof(shown):
        return {"proof": {"kind": "reveal", "reveal": shown.data.hex()}}

    ledger.refuses("commitment-unknown", "bank", "evidence.submit", proof(false))
    ledger.do("operator", "run.align", body)
    assert ledger.execute(false.transaction).code == "reveal-mismatch"
    ledger.refuses("evidence-invalid", "bank", "evidence.submit", proof(honest))
    ledger.do("bank", "evidence.submit", proof(false))
    assert ledger["member/operator"]["cause"] == "evidence/reveal/run-1/000000000/operator"
