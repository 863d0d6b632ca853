"""An exported ledger verifies offline; whatever is changed in it is named by check, line and leaf."""

import io
import json
import tracemalloc

import pytest

from parley.ledger import verifier
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.encoding import encode
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.prove import Snapshot, prove, trust
from parley.ledger.export import export, read_note
from parley.ledger.notes import SignedNote, cosign, parse_note
from parley.ledger.proof import ReceiptRefused, verify_receipt
from parley.ledger.verifier import CHECKS, Difference, verify

from tests.ledger.members import genesis_of, key, registration

NAMES = ("bank", "operator", "regulator")
BLOCKS = 4
IN_BLOCK = 3
LEAVES = 1 + BLOCKS * IN_BLOCK


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    spec = genesis_of(NAMES)
    log = MemberLog(tmp_path_factory.mktemp("log"), "bank", key("bank", "cosigning"))
    log.begin(spec.value())
    log.add_signatures(1, cosigned(log, 1))
    for block in range(BLOCKS):
        made = [registration(spec, "operator", f"t{block}-{number}").data for number in range(IN_BLOCK)]
        executed, dropped = log.prepare(made, 1_790_000_001 + block)
        assert not dropped
        log.seal(executed)
        log.add_signatures(log.size, cosigned(log, log.size))
    yield log
    log.store.close()


def cosigned(log, size, names=("bank", "operator")):
    return [cosign(name, log.note(size).text, key(name, "cosigning"), 1_790_000_000) for name in names]


@pytest.fixture(scope="module")
def exported(log):
    file = io.BytesIO()
    export(Snapshot(log), file)
    return tuple(file.getvalue().splitlines(keepends=True))


def failed(lines, **options):
    with pytest.raises(Difference) as caught:
        verify(lines, **options)
    assert CHECKS[caught.value.check - 1] in str(caught.value)
    return caught.value.check, caught.value.line, caught.value.leaf


def swapped(lines, line, data):
    """The file with another line; lines count from one."""
    return (*lines[: line - 1], data, *lines[line:])


def forged(lines, line):
    """The file with the signature in a line changed in its first digit."""
    data = lines[line - 1]
    at = data.index(b'"signature":"') + 13
    return swapped(lines, line, data[:at] + (b"1" if data[at : at + 1] == b"0" else b"0") + data[at + 1 :])


def with_note(lines, line, change):
    note = parse_note(read_note(lines[line - 1].removesuffix(b"\n")))
    changed = change(note, Checkpoint.parse(note.text)).encoded()
    return swapped(lines, line, encode({"checkpoint": changed.decode().split("\n")}) + b"\n")


def test_a_whole_ledger_verifies(exported, log):
    found = verify(exported, whole=True)
    assert (found.leaves, found.final, found.height, found.refused) == (LEAVES, LEAVES, BLOCKS, 0)
    assert (found.root, found.state_root) == (log.root_at(log.size), log.replica.state.root)
    assert found.cosigners == ("bank", "operator")
    assert verify(exported, consortium=found.origin) == found


def test_check_1_every_line_is_canonical_and_in_place(exported):
    assert failed(()) == (1, 1, None)
    assert failed(swapped(exported, 1, b"{}\n")) == (1, 1, None)
    assert failed(swapped(exported, 5, exported[4].replace(b":", b": ", 1))) == (1, 5, 3)
    assert failed(exported[: LEAVES - 1]) == (1, LEAVES, LEAVES - 2)
    assert failed((*exported, b"{}\n"))[:2] == (1, len(exported) + 1)
    assert failed((*exported, exported[-1]))[:2] == (1, len(exported) + 1)


def test_any_number_of_further_lines_takes_no_memory(exported):
    tracemalloc.start()
    try:
        assert failed((*exported, *[b"1\n"] * 20_000))[:2] == (1, len(exported) + 1)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_check_2_the_genesis_is_that_of_the_consortium(exported):
    assert failed(exported, consortium="parley/" + "00" * 32) == (2, 2, 0)
    other = exported[1].replace(b'"nonce":"n"', b'"nonce":"m"')
    assert failed(swapped(exported, 2, other)) == (2, 2, 0)
    assert failed(swapped(exported, 2, b'{"genesis":{}}\n')) == (2, 2, 0)


def test_check_3_blocks_follow_one_another(exported):
    early = [line.replace(b'"time":1790000002', b'"time":1790000000') for line in exported]
    assert failed(early) == (3, 6, 4)
    gap = [line.replace(b'"height":2', b'"height":3') for line in exported]
    assert failed(gap)[:2] == (3, 6)


def test_check_4_every_transaction_is_admissible_and_signed(exported):
    assert failed(forged(exported, 7)) == (4, 7, 5)
    replay = exported[5].replace(b'"height":2', b'"height":3').replace(b"1790000002", b"1790000003")
    assert failed(swapped(exported, 9, replay)) == (4, 9, 7)


@pytest.mark.parametrize("claims", [1, 2, 512])
def test_of_two_bad_signatures_the_first_is_named_in_the_same_words(exported, monkeypatch, claims):
    monkeypatch.setattr(verifier, "CLAIMS", claims)
    wrong = forged(forged(exported, 7), 11)
    assert failed(wrong) == (4, 7, 5)
    with pytest.raises(Difference, match=r"leaf 5: .*the signature is not that of the sender's key"):
        verify(wrong)
    # what stands behind them is named only where they are good
    replay = exported[5].replace(b'"height":2', b'"height":4').replace(b"1790000002", b"1790000004")
    assert failed(swapped(wrong, 13, replay)) == (4, 7, 5)
    assert failed(swapped(exported, 13, replay)) == (4, 13, 11)


def test_check_5_the_checkpoint_has_the_logs_root(exported):
    missing = json.loads(exported[0])
    cut = (encode({**missing, "leaves": LEAVES - IN_BLOCK}) + b"\n", *exported[1 : 1 + LEAVES - IN_BLOCK])
    assert failed((*cut, exported[-1]))[0] == 5
    first = LEAVES + 2

    def rooted(_note, head):
        return Checkpoint.seal(head.origin, head.size, bytes(32), head.state_root).sign(
            key("bank", "cosigning")
        )

    assert failed(with_note(exported, first + 1, rooted)) == (5, first + 1, 4)


def test_check_6_the_checkpoint_has_the_states_root(exported):
    def stated(_note, head):
        return Checkpoint.seal(head.origin, head.size, head.root, bytes(32)).sign(key("bank", "cosigning"))

    assert failed(with_note(exported, LEAVES + 4, stated)) == (6, LEAVES + 4, 7)


def test_check_7_the_sequencer_has_sealed_the_block(exported):
    def sealed(_note, head):
        return head.sign(key("operator", "cosigning"))

    assert failed(with_note(exported, LEAVES + 4, sealed)) == (7, LEAVES + 4, 7)


def test_check_8_cosignatures_are_good(exported):
    def bad(note, _head):
        lines = [line for line in note.signatures if line.name != "operator"]
        return SignedNote(
            note.text, (*lines, cosign("operator", note.text + "x\n", key("operator", "cosigning"), 1))
        )

    assert failed(with_note(exported, LEAVES + 4, bad)) == (8, LEAVES + 4, 7)


def test_check_9_the_end_is_sealed_and_cosigned_as_asked(exported):
    assert failed(exported[:-1])[0] == 9

    def alone(note, _head):
        return SignedNote(note.text, tuple(line for line in note.signatures if line.name != "operator"))

    few = with_note(exported, len(exported), alone)
    assert verify(few).final == LEAVES - IN_BLOCK
    assert failed(few, whole=True)[0] == 9


def test_a_receipt_of_a_members_log_proves_itself(log):
    for number in range(1, LEAVES):
        stored = log.store.leaves(number, number + 1)[0]
        proven = verify_receipt(prove(log, stored.digest).encoded(), trust(log), 2)
        assert (proven.index, proven.signed.digest) == (number, stored.digest)
    with pytest.raises(ReceiptRefused):
        verify_receipt(prove(log, stored.digest).encoded(), trust(log), 3)
