"""What reads the bytes of a ledger: signed transactions, notes, proofs, blocks, files, and what nodes say."""

import io
import json
from contextlib import suppress

import msgspec

from parley.cli.receipts import _Keys, _trusted
from parley.core.errors import ParleyError, PeerMisbehaved
from parley.core.plan import Part, Plan, decode_plan, encode_plan, read_plan
from parley.data.bins import CategoricalBins, NumericBins
from parley.learn.parameters import BoostingParameters, boosting_parameters
from parley.learn.shares import ActiveShare, Column, PassiveShare, decode_share, encode_share
from parley.learn.trees import SplitRule, Tree, TreeLeaf, TreeSplit
from parley.ledger import merkle, sparse
from parley.ledger.block import Leaf, read_genesis
from parley.ledger.checkpoint import Checkpoint, fork_evidence, open_checkpoint
from parley.ledger.contract import Block, apply
from parley.ledger.contract.takeover import is_promised
from parley.ledger.electorate import Electorate, origin, proving_keys
from parley.ledger.encoding import EncodingError, decode, encode, unhexed
from parley.ledger.engines.cometbft import messages, rpc, server, wire
from parley.ledger.engines.cometbft import requests as node
from parley.ledger.engines.cometbft import rpc_answers as shapes
from parley.ledger.engines.cometbft.beginning import Beginning
from parley.ledger.engines.cometbft.dispatch import answer
from parley.ledger.engines.embedded import cosigner, gossip, handover
from parley.ledger.engines.embedded.comparing import _read as promised
from parley.ledger.engines.embedded.cosigner import Forked, Rejected
from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.engines.embedded.prove import Snapshot
from parley.ledger.engines.evidence import convictions, disagreement
from parley.ledger.export import export, read_header, read_note
from parley.ledger.notes import NoteError, NoteKey, cosign, parse_note
from parley.ledger.proof import Receipt, ReceiptRefused, verify_receipt
from parley.ledger.replica import IllegalBlock, Replica
from parley.ledger.transaction import open_signed
from parley.ledger.verifier import Difference, verify

from tests.contract import Ledger
from tests.contract_history import history
from tests.fuzz import mutator
from tests.fuzz.mutator import JSON, MSGPACK
from tests.fuzz.target import Fuzzed, Target
from tests.ledger.chains import founded
from tests.ledger.members import genesis_of, key, registration
from tests.unit.test_comet_messages import REQUESTS, RESPONSES, TIME
from tests.unit.test_receipt import TRUST, receipt


def _as_json(value):
    return json.dumps(value).encode()


# ── the encoding, and what is signed ──────────────────────────────────────────────────────────────────


def canonical(_folder):
    def read(data):
        return encode(decode(data)), unhexed(data.decode(errors="replace"))

    seeds = [encode({"a": [1, -2, True, None, "é"], "b": {"c": ""}}), encode([[[]]]), b"00ff"]
    return Fuzzed(seeds, read, (EncodingError,), JSON)


def contract(_folder):
    """A transaction of a member, executed where it would stand: always a receipt."""
    past = history(2)
    end = Block(past.height + 1, past.time + 1)
    seeds = {}
    for transaction, _ in past.history:
        seeds.setdefault(
            transaction.type, past.signed(transaction.sender, transaction.type, transaction.body).data
        )

    def execute(data):
        signed = open_signed(data)
        signed.verify(bytes(32))
        return apply(past.state, signed.transaction, end)

    return Fuzzed(list(seeds.values()), execute, (EncodingError,), JSON)


def block(folder):
    """Leaves as another member shows them: a block, its checkpoint, and a takeover."""
    log = _log(folder)

    def take(data):
        shown = _message(data, gossip.Piece)
        for step in (
            lambda: cosigner.take(log, log.size, shown.leaves, shown.note),
            lambda: cosigner.take(log, 1, shown.leaves, shown.note),
            lambda: cosigner.compare(log, shown.note),
            lambda: cosigner.cosignature(log, "operator", shown.note),
            lambda: handover._check_promises(log, shown.leaves),
            lambda: disagreement(proving_keys(log.replica.state), log.note(log.size), parse_note(shown.note)),
            lambda: handover.switch(log, 1, shown.leaves, shown.note),
        ):
            with suppress(Rejected, Forked, NoteError):
                step()

    spec = genesis_of(_NAMES)
    other = MemberLog(folder / "other", "bank", key("bank", "cosigning"))
    other.begin(spec.value())
    made = [registration(spec, "operator", name) for name in ("one", "two")]
    executed, _ = other.prepare([one.data for one in made], 1_790_000_005)
    other.seal(executed)
    note = other.note(other.size).encoded()
    leaves = tuple(leaf.data for leaf in other.store.leaves(1, 3))
    seeds = [
        msgspec.msgpack.encode(gossip.Piece(each, shown))
        for each in (leaves, (log.store.leaves(0, 1)[0].data,))
        for shown in (note, log.note(1).encoded(), log.note(log.size).encoded())
    ]
    return Fuzzed(seeds, take, (ParleyError,), MSGPACK)


def promise(folder):
    """Who another member says is to order."""
    log = _log(folder)
    state = log.replica.state
    own = log.promise_to("operator", 1)

    def learn(data):
        one = promised(_message(data, gossip.Tip).promises[0])
        return is_promised(state, one.epoch, one.successor, one.promise)

    root, signature = bytes.fromhex(own.promise.root), bytes.fromhex(own.promise.signature)
    shown = gossip.Promised(1, "operator", "bank", own.promise.era, own.promise.size, root, signature)
    return Fuzzed(
        [msgspec.msgpack.encode(gossip.Tip(b"", 0, 0, (shown,)))], learn, (ParleyError, IndexError), MSGPACK
    )


def _message(data, kind):
    """A message as a channel gives it: what does not decode is the peer's fault before anyone reads it."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PeerMisbehaved("malformed-message", str(error), peer="operator", remedy="none") from None


_NAMES = ("bank", "operator", "regulator")


def _log(folder):
    """A member's log of three blocks, cosigned."""
    spec = genesis_of(_NAMES)
    log = MemberLog(folder / "log", "bank", key("bank", "cosigning"))
    log.begin(spec.value())
    for number in range(2):
        executed, _ = log.prepare([registration(spec, "operator", f"t{number}").data], 1_790_000_001 + number)
        log.seal(executed)
        text = log.note(log.size).text
        lines = [cosign(name, text, key(name, "cosigning"), 1_790_000_000) for name in _NAMES[:2]]
        log.add_signatures(log.size, lines)
    return log


def founding(_folder):
    """The first leaf of somebody's ledger."""

    def begin(data):
        return Replica({}, merkle.Frontier()).execute([data])

    return Fuzzed([encode({"genesis": genesis_of(_NAMES).value()})], begin, (IllegalBlock,), JSON)


def leaf(folder):
    log = _log(folder)
    seeds = [one.data for one in log.store.leaves(0, log.size)]

    def read(data):
        try:
            return read_genesis(data)
        except EncodingError:
            return Leaf.decoded(data).opened()

    return Fuzzed(seeds, read, (EncodingError,), JSON)


# ── notes, proofs and files ───────────────────────────────────────────────────────────────────────────


def note(folder):
    log = _log(folder)
    voters = Electorate.of(log.replica.state)
    keys = [*voters.keys, *TRUST.cosigners]

    def read(data):
        shown = parse_note(data)
        Checkpoint.parse(shown.text)
        voters.good(shown.text, shown.signatures)
        open_checkpoint(data, keys)
        return fork_evidence(data, good, keys)

    good = log.note(log.size).encoded()
    return Fuzzed([good, log.note(1).encoded(), receipt().checkpoint], read, (NoteError,))


def kept_evidence(folder):
    """A file of evidence, from somebody."""
    state = _log(folder).replica.state
    head = Checkpoint.seal(origin(state), 7, bytes(32), bytes(32))
    other = Checkpoint.seal(origin(state), 7, bytes([1] * 32), bytes(32))
    signed = [one.sign(key("operator", "cosigning")).encoded().decode() for one in (head, other)]
    seeds = [_as_json({"what": "x", "notes": notes}) for notes in (signed, signed[:1] * 2)]
    return Fuzzed(seeds, lambda data: convictions(state, data), (ParleyError,), JSON)


def trusted_keys(_folder):
    """A file of members' keys, from somebody."""
    known = _Keys(
        TRUST.consortium,
        TRUST.origin,
        2,
        tuple(one.text for one in TRUST.log),
        tuple(one.text for one in TRUST.cosigners),
    )

    def read(data):
        NoteKey.parse(data.decode(errors="replace")) if data.startswith(b"bank+") else None
        path.write_bytes(data)
        return _trusted(path)

    path = _folder / "ledger.keys"
    return Fuzzed(
        [msgspec.json.encode(known), TRUST.cosigners[0].text.encode()], read, (ParleyError, NoteError), None
    )


def proof(_folder):
    """A receipt, and the proofs in it under other numbers."""
    good = receipt()

    def read(data):
        taken = verify_receipt(data, TRUST, 2)
        return Receipt.decoded(data), taken

    return Fuzzed([good.encoded(), receipt(index=0, size=1).encoded()], read, (ReceiptRefused,), JSON)


def paths(_folder):
    """Merkle proofs, consistency proofs and proofs of the state as msgpack, with any numbers."""
    one = [b"r" * 32] * 3

    def check(data):
        first, second, hashes, root, value, other = _message(
            data, tuple[int, int, list[bytes], bytes, bytes | None, tuple[bytes, bytes] | None]
        )
        merkle.verify_inclusion(root, first, second, hashes, root)
        merkle.verify_consistency(first, second, hashes, root, root)
        sparse.verify_proof(root, root, value, sparse.SparseProof(tuple(hashes), other))
        return merkle.Frontier.decoded(first.to_bytes(8, "big", signed=first < 0) + b"".join(hashes)).root()

    seeds = [
        msgspec.msgpack.encode((3, 7, one, b"r" * 32, value, other))
        for value, other in ((b"v", None), (None, (b"k" * 32, b"d" * 32)))
    ]
    return Fuzzed(seeds, check, (ParleyError, ValueError, OverflowError), MSGPACK)


def exported(folder):
    """A copied ledger."""
    log, file = _log(folder), io.BytesIO()
    export(Snapshot(log), file)
    whole = file.getvalue()
    log.store.close()

    def read(data):
        lines = data.splitlines(keepends=True)
        for one in lines:
            for part in (read_header, read_note):
                with suppress(EncodingError):
                    part(one.removesuffix(b"\n"))
        return verify(lines, threads=1)

    def join(values):
        return b"\n".join(JSON.write(one) for one in values) + b"\n"

    lines = mutator.Tree(lambda data: [JSON.read(one) for one in data.splitlines()], join, b"0", b"[", b"]")
    return Fuzzed([whole], read, (Difference,), lines)


def share(_folder):
    """A piece of a model, in a file from somebody."""
    columns = (
        Column("age", NumericBins((1.5, 2.5))),
        Column("kind", CategoricalBins(("a", "b"), other=True)),
    )
    tree = Tree(
        0,
        (TreeSplit(0, 1, 0, 0, 0, 0.5), TreeSplit(1, 3, 1, 1, 0, 0.25)),
        tuple(TreeLeaf(node, 0.125) for node in (2, 3, 4)),
    )
    rules = (SplitRule(0, (1,)),)
    active = ActiveShare(
        "m",
        "bank",
        ("bank", "operator"),
        BoostingParameters(),
        1,
        ("0", "1"),
        (0.0,),
        (tree,),
        columns,
        rules,
    )

    def read(data):
        found = decode_share(data, model="m")
        return found.importances() if isinstance(found, ActiveShare) else encode_share(found)

    passive = PassiveShare("m", "operator", columns, (SplitRule(1, (0, 2)),))
    return Fuzzed([encode_share(one) for one in (active, passive)], read, tree=JSON)


def plan(_folder):
    """A plan as a peer proposes it, or as somebody writes it."""
    parties = {
        "bank": Part(table="accounts", id="id", label="late"),
        "operator": Part(table="people", id="id"),
    }
    good = Plan(name="credit", purpose="to see", parties=parties, model={"n_estimators": 10})

    def read(data):
        try:
            found = decode_plan(data)
        except ParleyError:
            return read_plan(data.decode(errors="replace"))
        return found.digest, found.active, found.passive, boosting_parameters(found.model)

    written = b'name = "credit"\npurpose = "to see"\n[parties.bank]\ntable = "a"\nid = "id"\nlabel = "late"\n'
    return Fuzzed(
        [encode_plan(good), encode_plan(good), written + b'[parties.operator]\ntable = "b"\nid = "id"\n'],
        read,
        tree=None,
    )


# ── CometBFT ──────────────────────────────────────────────────────────────────────────────────────────


def requests(folder):
    """What the node asks: bytes of a connection, and the contract's answer."""
    ledger = Ledger(
        {"bank": "holder", "operator": "holder", "regulator": "observer", "retailer": "holder"},
        engine="cometbft",
        sequencer=None,
    )
    chain = founded(folder, ledger.spec)
    seeds = [
        wire.with_length(messages.encode_envelope(one))
        for name, one in REQUESTS.items()
        if name not in ("init", "finalize", "commit")
    ]
    signed = ledger.signed(
        "operator", "table.register", {"name": "t", "schema": "00" * 32, "rows": 10, "root": "11" * 32}
    ).data
    seeds += [
        wire.with_length(messages.encode_envelope(one))
        for one in (
            node.CheckTxRequest(signed),
            node.ProcessProposalRequest((signed,), 2, TIME),
            node.QueryRequest(b"meta/count", "/state"),
        )
    ]

    def converse(data):
        received = bytearray(data)
        said = []
        for envelope in server._envelopes(received):
            request = messages.decode_request(envelope)
            if not isinstance(
                request, node.CommitRequest | node.FinalizeBlockRequest | node.InitChainRequest
            ):
                said.append(
                    messages.decode_response(messages.encode_envelope(answer(chain.application, request)))
                )
        return said

    return Fuzzed(seeds, converse)


def envelopes(_folder):
    """Both directions of ABCI."""
    seeds = [messages.encode_envelope(one) for one in (*REQUESTS.values(), *RESPONSES.values())]

    def read(data):
        try:
            return messages.decode_request(data)
        except ParleyError:
            return messages.decode_response(data)

    return Fuzzed(seeds, read)


def answers(shape, result):
    def make(_folder):
        seed = _as_json({"jsonrpc": "2.0", "id": 1, "result": result})
        refusal = _as_json({"jsonrpc": "2.0", "id": 1, "error": {"code": -1, "message": "no", "data": "why"}})
        return Fuzzed([seed, seed, refusal], lambda data: rpc._read(shape, "method", data), tree=JSON)

    return make


_HASH = "AB" * 32
_NODE = {"id": "ab" * 20, "version": "0.39.4", "moniker": "bank"}
_RESULT = {"code": 0, "data": "YQ==", "log": ""}
_HEADER = {"height": "7", "time": "2026-01-01T00:00:00.5Z", "app_hash": _HASH, "proposer_address": "AB" * 20}
ANSWERS = {
    shapes.SubmitAnswer: {"code": 0, "log": "", "hash": _HASH},
    shapes.TxAnswer: {"height": "7", "index": 0, "tx_result": _RESULT, "tx": "YQ=="},
    shapes.BlockAnswer: {
        "block_id": {"hash": _HASH},
        "block": {"header": _HEADER, "data": {"txs": ["YQ=="]}},
    },
    shapes.BlockOutcomeAnswer: {"height": "7", "txs_results": [_RESULT], "app_hash": "YQ=="},
    shapes.StatusAnswer: {
        "node_info": _NODE,
        "sync_info": {
            "latest_block_height": "7",
            "latest_app_hash": _HASH,
            "latest_block_time": "2026-01-01T00:00:00.123456789Z",
            "catching_up": False,
        },
    },
    shapes.ValidatorsAnswer: {"validators": [{"pub_key": {"value": "YQ=="}, "voting_power": "10"}]},
    shapes.NetInfoAnswer: {"peers": [{"node_info": _NODE}]},
    shapes.QueryAnswerShape: {"response": {"code": 0, "log": "", "value": "YQ==", "height": "7"}},
}


def beginning(_folder):
    """The app_state of a chain's genesis file, from whoever wrote it."""
    seeds = [
        _as_json({"genesis": {"name": "x"}, "nodes": {"bank": "ab"}}),
        _as_json({"checkpoint": "a\n1\nYQ==\n", "nodes": {}}),
    ]
    return Fuzzed(seeds, lambda data: Beginning.read(data).app_state(), tree=JSON)


TARGETS = (
    Target("the canonical encoding", canonical),
    Target("a transaction", contract),
    Target("a block of another member", block, slow=True),
    Target("a promise", promise),
    Target("a genesis", founding, slow=True),
    Target("a leaf", leaf),
    Target("a note", note),
    Target("a file of evidence", kept_evidence),
    Target("a file of keys", trusted_keys),
    Target("a receipt", proof),
    Target("proofs", paths),
    Target("an exported ledger", exported, slow=True),
    Target("a model share", share),
    Target("a plan", plan),
    Target("requests of a node", requests, slow=True),
    Target("messages of ABCI", envelopes),
    *(Target(f"a node's {shape.__name__}", answers(shape, result)) for shape, result in ANSWERS.items()),
    Target("the beginning of a chain", beginning),
)
