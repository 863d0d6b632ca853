"""The Merkle log and the signed notes against Go's own implementations of them (main.go)."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from parley.crypto.signatures import SigningKey
from parley.ledger import notes
from parley.ledger.checkpoint import Checkpoint, open_checkpoint
from parley.ledger.merkle import (
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from parley.ledger.notes import Kind, NoteKey

HERE = Path(__file__).parent
ORIGIN = "parley.example/credit"
LOG, BANK = (SigningKey.from_seed(bytes([n]) * 32) for n in (1, 2))
LOG_KEY = NoteKey(ORIGIN, Kind.ED25519, LOG.public)
BANK_KEY = NoteKey("bank", Kind.COSIGNATURE_V1, BANK.public)
HEAD = Checkpoint.seal(ORIGIN, 42, bytes(range(32)), bytes(range(32, 64)))

pytestmark = pytest.mark.go


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Asks the Go program; built once, from modules whose checksums are in go.sum."""
    if shutil.which("go") is None:
        pytest.skip("go is not on the PATH")
    program = tmp_path_factory.mktemp("interop") / "interop"
    environment = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly"}
    built = subprocess.run(
        ["go", "build", "-o", program, "."],
        cwd=HERE,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        reason = built.stderr.strip().splitlines()[-1]
        pytest.skip(f"the Go program cannot be built here: {reason}")

    def ask(**request):
        done = subprocess.run(
            [program], input=json.dumps(request), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    ask.program = program
    return ask


def digests(texts):
    return tuple(base64.b64decode(text) for text in texts or [])


def secret(key, seed):
    """A key as Go's note package reads it."""
    material = base64.b64encode(bytes([key.kind]) + seed).decode()
    return f"PRIVATE+KEY+{key.name}+{key.key_hash.hex()}+{material}"


def test_every_root_and_every_proof_of_a_tree_is_the_same(go):
    leaves = [b"leaf %d" % n * n for n in range(33)]
    given = go(Do="tree", Leaves=[base64.b64encode(leaf).decode() for leaf in leaves])
    roots = digests(given["Roots"])
    frontier, nodes = Frontier(), {}
    for size, leaf in enumerate(leaves, 1):
        nodes |= {(level, at): digest for level, at, digest in frontier.append(leaf_hash(leaf))}
        assert frontier.root() == roots[size - 1]

    def node(level, position):
        return nodes[level, position]

    for size in range(1, len(leaves) + 1):
        assert root_at(size, node) == roots[size - 1]
        for index in range(size):
            inclusion = digests(given["Inclusion"][str(size)][index])
            assert inclusion_proof(index, size, node) == inclusion
            assert verify_inclusion(leaf_hash(leaves[index]), index, size, inclusion, roots[size - 1])
            consistency = digests(given["Consistency"][str(size)][index])
            assert consistency_proof(index + 1, size, node) == consistency
            assert verify_consistency(index + 1, size, consistency, roots[index], roots[size - 1])


def test_go_opens_our_checkpoints(go):
    note = HEAD.sign(LOG).with_signatures([notes.cosign("bank", HEAD.text, BANK, 1_700_000_000)]).encoded()
    given = go(Do="open", Note=base64.b64encode(note).decode(), Keys=[LOG_KEY.text, BANK_KEY.text])
    assert given["Text"] == HEAD.text
    assert given["Names"] == [ORIGIN, "bank"]


def test_go_refuses_what_we_refuse(go):
    note = HEAD.sign(LOG).encoded().replace(b"\n42\n", b"\n43\n")
    request = {"Do": "open", "Note": base64.b64encode(note).decode(), "Keys": [LOG_KEY.text]}
    done = subprocess.run(
        [go.program], input=json.dumps(request), capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    with pytest.raises(notes.NoteError):
        open_checkpoint(note, [LOG_KEY])


def test_we_open_checkpoints_of_go(go):
    keys = [secret(LOG_KEY, bytes([1]) * 32)], [secret(BANK_KEY, bytes([2]) * 32)]
    given = go(Do="sign", Text=HEAD.text, Keys=keys[0], Cosign=keys[1])
    checkpoint, statements = open_checkpoint(base64.b64decode(given["Note"]), [LOG_KEY, BANK_KEY])
    assert checkpoint == HEAD
    assert [said.key for said in statements] == [LOG_KEY, BANK_KEY]
    assert statements[1].time > 1_700_000_000
