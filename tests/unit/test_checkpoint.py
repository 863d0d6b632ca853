"""Signed notes and checkpoints against published notes, and whatever must be refused."""

import base64
import json
from pathlib import Path

import pytest

from parley.crypto.signatures import SigningKey
from parley.ledger import notes
from parley.ledger.checkpoint import Checkpoint, fork_evidence, open_checkpoint
from parley.ledger.notes import Kind, NoteError, NoteKey, parse_note

VECTORS = json.loads((Path(__file__).parent / "vectors" / "notes.json").read_text())
PLAIN, COSIGNED, SPECIFICATION = VECTORS["plain"], VECTORS["cosigned"], VECTORS["specification"]
KEYS = [NoteKey.parse(text) for text in PLAIN["keys"]]
PETER, ENOCH = KEYS

ORIGIN = "parley.example/credit"
LOG = SigningKey.from_seed(bytes([1]) * 32)
BANK = SigningKey.from_seed(bytes([2]) * 32)
LOG_KEY = NoteKey(ORIGIN, Kind.ED25519, LOG.public)
BANK_KEY = NoteKey("bank", Kind.COSIGNATURE_V1, BANK.public)
HEAD = Checkpoint.seal(ORIGIN, 3, bytes(range(32)), bytes(range(32, 64)))


def test_published_notes_open():
    note = parse_note(PLAIN["note"].encode())
    assert note.text == PLAIN["text"]
    assert [said.key for said in note.verified(KEYS)] == KEYS
    assert [said.key for said in note.verified([ENOCH])] == [ENOCH]
    assert note.encoded() == PLAIN["note"].encode()


def test_a_published_note_is_made_again():
    key = SigningKey.from_seed(bytes.fromhex(PLAIN["seed"]))
    line = notes.sign("PeterNeumann", PLAIN["text"], key)
    assert line == parse_note(PLAIN["note"].encode()).signatures[0]
    assert NoteKey("PeterNeumann", Kind.ED25519, key.public).text == PLAIN["keys"][0]


def test_cosignatures_of_another_implementation_verify_and_are_made_again():
    log, bank, operator = (NoteKey.parse(text) for text in COSIGNED["keys"])
    assert (log, bank) == (LOG_KEY, BANK_KEY)
    checkpoint, statements = open_checkpoint(COSIGNED["note"].encode(), [log, bank, operator])
    assert checkpoint == HEAD
    assert [said.key for said in statements] == [log, bank, operator]
    assert statements[0].time is None
    time = statements[1].time
    made = HEAD.sign(LOG).with_signatures(
        [
            notes.cosign("bank", HEAD.text, BANK, time),
            notes.cosign("operator", HEAD.text, SigningKey.from_seed(bytes([3]) * 32), statements[2].time),
        ]
    )
    assert made.encoded() == COSIGNED["note"].encode()


def test_the_example_of_the_specification_is_read():
    note = parse_note(SPECIFICATION["note"].encode())
    checkpoint = Checkpoint.parse(note.text)
    assert checkpoint.origin == "example.com/behind-the-sofa"
    assert (checkpoint.size, checkpoint.extensions) == (20852163, ())
    assert [line.name for line in note.signatures] == [
        "example.com/behind-the-sofa",
        "witness.example.com/w1",
    ]
    assert [len(line.signature) for line in note.signatures] == [64, 72]
    assert int.from_bytes(note.signatures[1].signature[:8], "big") == SPECIFICATION["time"]
    assert note.encoded() == SPECIFICATION["note"].encode()
    with pytest.raises(NoteError, match="0 lines with a state root"):
        _ = checkpoint.state_root


def test_a_seal_carries_both_roots():
    assert HEAD.text == f"{ORIGIN}\n3\n{b64(range(32))}\nparley-state/v1 {b64(range(32, 64))}\n"
    assert Checkpoint.parse(HEAD.text) == HEAD
    assert HEAD.state_root == bytes(range(32, 64))
    checkpoint, statements = open_checkpoint(HEAD.sign(LOG).encoded(), [LOG_KEY])
    assert checkpoint == HEAD
    assert statements == ((LOG_KEY, None),)


def b64(data):
    return base64.b64encode(bytes(data)).decode()


@pytest.mark.parametrize("text", [PLAIN["keys"][0], LOG_KEY.text, BANK_KEY.text])
def test_every_mangled_key_is_refused(text):
    assert NoteKey.parse(text).text == text
    for at in range(len(text)):
        for bad in (text[:at] + text[at + 1 :], text[:at] + "!" + text[at + 1 :], text[:at]):
            with pytest.raises(NoteError):
                NoteKey.parse(bad)


def signed(text=HEAD.text, name=ORIGIN):
    return notes.SignedNote(text, (notes.sign(name, text, LOG),))


def changed(line, **changes):
    return line._replace(**changes)


NOTE = signed().encoded().decode()


@pytest.mark.parametrize(
    "data",
    [
        "",
        "\n",
        "text",
        HEAD.text,
        HEAD.text + "\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—"),
        NOTE.replace(f"— {ORIGIN}", "— "),
        NOTE.replace(f"— {ORIGIN}", "— a+b"),
        NOTE.replace(f"— {ORIGIN}", "— a\u00a0b"),
        NOTE[:-2] + "\n",
        NOTE[:-1] + "=\n",
        NOTE[:-1] + " \n",
        NOTE + "— short AAAA\n",
        NOTE + "no signature\n",
        NOTE.replace("3\n", "3\r\n"),
        "\t" + NOTE,
        "\0" + NOTE,
        HEAD.text + "\n" + "— a AAAAAAAA\n" * 101,
        "x" * 70_000,
    ],
    ids=range(23),
)
def test_malformed_notes_are_refused(data):
    with pytest.raises(NoteError):
        parse_note(data.encode())


def test_a_note_is_utf_8():
    with pytest.raises(NoteError, match="byte 0"):
        parse_note(b"\xff" + NOTE.encode())


def test_sixteen_signatures_and_a_text_with_empty_lines_are_taken():
    text = "a\n\n\nb\n"
    keys = [SigningKey.from_seed(bytes([n]) * 32) for n in range(1, 17)]
    note = notes.SignedNote(text, tuple(notes.sign(f"k{n}", text, key) for n, key in enumerate(keys)))
    read = parse_note(note.encoded())
    assert read == note
    assert (
        len(read.verified([NoteKey(f"k{n}", Kind.ED25519, key.public) for n, key in enumerate(keys)])) == 16
    )


def test_every_changed_byte_of_a_note_is_noticed():
    data = bytearray(NOTE.encode())
    for at in range(len(data)):
        data[at] ^= 1
        with pytest.raises(NoteError):
            open_checkpoint(bytes(data), [LOG_KEY])
        data[at] ^= 1


def test_unknown_keys_are_ignored_and_a_bad_signature_of_a_known_one_is_not():
    note = signed()
    stranger = notes.cosign("bank", HEAD.text, BANK, 5)
    both = note.with_signatures([stranger])
    assert [said.key for said in both.verified([LOG_KEY])] == [LOG_KEY]
    with pytest.raises(NoteError, match="no known key"):
        note.verified([BANK_KEY])
    bad = changed(stranger, signature=stranger.signature[:-1] + b"\0")
    assert [said.key for said in note.with_signatures([bad]).verified([LOG_KEY])] == [LOG_KEY]
    with pytest.raises(NoteError, match="'bank' does not hold"):
        note.with_signatures([bad]).verified([LOG_KEY, BANK_KEY])


def test_a_cosignature_binds_its_time_and_its_kind():
    line = notes.cosign("bank", HEAD.text, BANK, 1_700_000_000)
    assert BANK_KEY.statement(HEAD.text, line.signature).time == 1_700_000_000
    for other in (
        (1_700_000_001).to_bytes(8, "big") + line.signature[8:],
        (2**63).to_bytes(8, "big") + BANK.sign_note(f"cosignature/v1\ntime {2**63}\n{HEAD.text}".encode()),
        line.signature[8:],
        line.signature[:71],
        b"",
    ):
        with pytest.raises(NoteError, match="does not hold"):
            BANK_KEY.statement(HEAD.text, other)
    plain = NoteKey("bank", Kind.ED25519, BANK.public)
    assert plain.key_hash != BANK_KEY.key_hash
    with pytest.raises(NoteError):
        plain.statement(HEAD.text, line.signature[8:])
    with pytest.raises(NoteError, match="not signed plainly"):
        notes.sign("bank", f"cosignature/v1\ntime 5\n{HEAD.text}", BANK)
    for time in (-1, 2**63):
        with pytest.raises(NoteError, match="time"):
            notes.cosign("bank", HEAD.text, BANK, time)


def test_a_line_of_the_same_key_replaces_the_earlier_one():
    note = HEAD.sign(LOG)
    early, late = (notes.cosign("bank", HEAD.text, BANK, time) for time in (5, 6))
    merged = note.with_signatures([early]).with_signatures([late])
    assert merged.signatures == (*note.signatures, late)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\nb", "a\u2003b"])
def test_names_have_no_space_and_no_plus(name):
    with pytest.raises(NoteError, match="name"):
        notes.sign(name, HEAD.text, LOG)
    with pytest.raises(NoteError, match="origin"):
        Checkpoint.seal(name, 1, bytes(32), bytes(32))


ROOT = b64(bytes(32))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n\n{ROOT}\n",
        f"o\n1\n{ROOT}\n\n",
        f"o\n1\n{ROOT}\n\next\n",
        f"o\n01\n{ROOT}\n",
        f"o\n+1\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n1 \n{ROOT}\n",
        f"o\n1_0\n{ROOT}\n",
        f"o\n\u0661\n{ROOT}\n",
        f"o\nx\n{ROOT}\n",
        f"o\n9223372036854775808\n{ROOT}\n",
        f"o\n{'9' * 5000}\n{ROOT}\n",
        f"o\n1\n{b64(bytes(31))}\n",
        f"o\n1\n{ROOT[:-1]}\n",
        f"o\n1\n{ROOT[:-2]}B=\n",
    ],
    ids=range(20),
)
def test_malformed_checkpoints_are_refused(text):
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_extension_lines_of_others_are_kept():
    checkpoint = Checkpoint.parse(f"o\n0\n{ROOT}\nfirst\nsecond line\n")
    assert checkpoint.extensions == ("first", "second line")
    assert checkpoint.text == f"o\n0\n{ROOT}\nfirst\nsecond line\n"
    for extensions in (f"parley-state/v1 {ROOT}\n" * 2, "parley-state/v1 AAAA\n"):
        with pytest.raises(NoteError, match="state"):
            _ = Checkpoint.parse(f"o\n0\n{ROOT}\n{extensions}").state_root


@pytest.mark.parametrize("change", [{"size": -1}, {"size": 2**63}, {"root": b""}, {"state_root": bytes(33)}])
def test_a_seal_is_checked(change):
    members = {"origin": ORIGIN, "size": 1, "root": bytes(32), "state_root": bytes(32)}
    with pytest.raises(NoteError):
        Checkpoint.seal(**(members | change))


def seal(size=3, root=1, state=1, origin=ORIGIN):
    return Checkpoint.seal(origin, size, bytes([root]) * 32, bytes([state]) * 32)


def cosigned(checkpoint, time=5):
    return checkpoint.sign(LOG).with_signatures([notes.cosign("bank", checkpoint.text, BANK, time)]).encoded()


KNOWN = [LOG_KEY, BANK_KEY]


def test_two_roots_of_one_size_are_a_proof_of_fraud():
    fork = fork_evidence(cosigned(seal()), cosigned(seal(root=2)), KNOWN)
    assert fork.signers == (LOG_KEY, BANK_KEY)
    assert (fork.first, fork.second) == (seal(), seal(root=2))
    assert fork_evidence(cosigned(seal()), cosigned(seal(state=2)), KNOWN).signers == (LOG_KEY, BANK_KEY)


def test_only_who_signed_both_is_guilty():
    other = notes.SignedNote(seal(root=2).text, (notes.cosign("bank", seal(root=2).text, BANK, 9),)).encoded()
    assert fork_evidence(cosigned(seal()), other, KNOWN).signers == (BANK_KEY,)
    assert fork_evidence(seal().sign(LOG).encoded(), other, KNOWN) is None


def test_signing_plainly_and_cosigning_count_as_the_same_key():
    one = seal().sign(LOG).encoded()
    text = seal(root=2).text
    other = notes.SignedNote(text, (notes.cosign("sequencer", text, LOG, 5),)).encoded()
    fork = fork_evidence(one, other, [LOG_KEY, NoteKey("sequencer", Kind.COSIGNATURE_V1, LOG.public)])
    assert fork.signers == (LOG_KEY,)


@pytest.mark.parametrize("other", [seal(), seal(size=4, root=2), seal(origin="other", root=2)])
def test_honest_checkpoints_are_no_evidence(other):
    key = NoteKey("other", Kind.ED25519, LOG.public)
    assert fork_evidence(cosigned(seal()), cosigned(other, time=6), [*KNOWN, key]) is None


def test_another_extension_line_is_no_evidence():
    later = seal()._replace(extensions=(*seal().extensions, "note of the log"))
    assert fork_evidence(cosigned(seal()), cosigned(later), KNOWN) is None


def test_forged_evidence_is_refused():
    forged = cosigned(seal()).replace(seal().text.encode(), seal(root=2).text.encode())
    with pytest.raises(NoteError, match="does not hold"):
        fork_evidence(cosigned(seal()), forged, KNOWN)
