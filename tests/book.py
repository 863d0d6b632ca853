"""A tiny ledger for the CometBFT engine's tests: names that are written once, in a file.

Transactions are text: ``name=value`` writes a name once; ``power:KEY=N`` gives a validator (public key
in hex) a voting power; ``peer:ID=yes`` and ``=no`` say which nodes may connect. What has no such form is
malformed: kept out of the mempool and of blocks. A second write of a name is refused with a receipt.
"""
# ruff: noqa: ARG002 (an Application is told more than this ledger asks)

import hashlib
import json
import os
import re
import signal

from parley.ledger.engines.cometbft.application import (
    Committed,
    FinalizeResult,
    QueryAnswer,
    TxResult,
    ValidatorPower,
    Verdict,
    proposal_bytes,
)
from parley.ledger.engines.cometbft.peers import PeerId, peer_question

MALFORMED, REFUSED = 1, 2
POINTS = ("before finalize", "after finalize", "before commit", "within commit", "after commit")
"""Where a book can be told to die, by its own SIGKILL."""

_FORM = re.compile(rb"(power:[0-9a-f]{64}=[0-9]{1,3}|peer:[0-9a-f]{40}=(yes|no)|[a-z0-9]+=[^=]*)")


class Book:
    """The state lives in memory and, as of the last commit, in a file.

    ``dies_at`` is a point and a height, for example ``("within commit", 3)``.
    """

    def __init__(self, path, dies_at=None):
        self._path = path
        self._dies_at = dies_at
        self._pending = None
        self.asked = []
        self.offences = []
        self.rejected = 0
        stored = json.loads(path.read_text()) if path.exists() else {"height": 0, "names": {}, "peers": None}
        self._state = stored

    # The state

    @property
    def height(self):
        return self._state["height"]

    @property
    def app_hash(self):
        return _hash(self._state)

    def _reached(self, point, height):
        if self._dies_at == (point, height):
            os.kill(os.getpid(), signal.SIGKILL)

    # The Application

    def info(self):
        return Committed(self.height, self.app_hash if self.height else b"", "test")

    def init_chain(self, genesis):
        self._state = {"height": 0, "names": {}, "peers": json.loads(genesis.app_state).get("peers")}
        return self.app_hash

    def check_tx(self, tx):
        return Verdict() if _FORM.fullmatch(tx) else Verdict(MALFORMED, "malformed")

    def pause(self, txs):
        return 0.0

    def prepare(self, txs, max_bytes, height, time):
        chosen = []
        for tx in txs:
            max_bytes -= proposal_bytes(tx)
            if max_bytes < 0:
                break
            chosen.append(tx)
        return chosen

    def process(self, txs, height, time):
        accepted = all(_FORM.fullmatch(tx) for tx in txs)
        self.rejected += not accepted
        return accepted

    def finalize(self, txs, height, time, misbehaviour, proposer):
        self._reached("before finalize", height)
        assert height == self.height + 1
        self.offences += misbehaviour
        peers = self._state["peers"]
        self._pending = {
            "height": height,
            "names": dict(self._state["names"]),
            "peers": None if peers is None else list(peers),
        }
        updates = []
        results = tuple(self._apply(tx, updates) for tx in txs)
        self._reached("after finalize", height)
        return FinalizeResult(results, _hash(self._pending), tuple(updates))

    def _apply(self, tx, updates):
        name, _, value = tx.decode(errors="replace").partition("=")
        if name.startswith("power:"):
            updates.append(ValidatorPower(bytes.fromhex(name.removeprefix("power:")), int(value)))
        elif name.startswith("peer:"):
            node = name.removeprefix("peer:")
            others = [one for one in self._pending["peers"] or [] if one != node]
            self._pending["peers"] = sorted([*others, node]) if value == "yes" else others
        elif name in self._pending["names"]:
            return TxResult(REFUSED, b"", f"{name} is written already")
        else:
            self._pending["names"][name] = value
        return TxResult(data=hashlib.sha256(tx).digest())

    def commit(self):
        height = self._pending["height"]
        self._reached("before commit", height)
        aside = self._path.with_suffix(".new")
        with aside.open("w") as file:
            json.dump(self._pending, file)
            file.flush()
            os.fsync(file.fileno())
        self._reached("within commit", height)
        aside.replace(self._path)
        self._reached("after commit", height)
        self._state, self._pending = self._pending, None
        return 0

    def query(self, path, data, height):
        question = peer_question(path)
        if question is not None:
            self.asked.append(question)
            peers = self._state["peers"]
            known = not isinstance(question, PeerId) or peers is None or question.node_id in peers
            return QueryAnswer() if known else QueryAnswer(REFUSED, log="not a member")
        value = self._state["names"].get(data.decode(errors="replace"))
        if value is None:
            return QueryAnswer(REFUSED, log="not written", height=self.height)
        return QueryAnswer(value=value.encode(), height=self.height)


class Failing(Book):
    """Fails wherever it is asked about foreign input, and in commit."""

    def check_tx(self, tx):
        raise RuntimeError(tx)

    def prepare(self, txs, max_bytes, height, time):
        return [b"x" * max_bytes]

    def process(self, txs, height, time):
        raise RuntimeError(txs)

    def query(self, path, data, height):
        raise RuntimeError(path)

    def commit(self):
        raise OSError("disk full at secret place")


class Forging(Book):
    """Proposes what no correct node proposes, and votes for it."""

    def prepare(self, txs, max_bytes, height, time):
        return [*super().prepare(txs, max_bytes, height, time), b"malformed"]

    def process(self, txs, height, time):
        return True


def _hash(state):
    content = json.dumps([state["names"], state["peers"]], sort_keys=True)
    return hashlib.sha256(content.encode()).digest()
