"""An embedded ledger with a history, whose members have voted for CometBFT, up to its last checkpoint."""

import itertools
from typing import NamedTuple

from parley.ledger.engines.embedded.log import MemberLog
from parley.ledger.notes import cosign
from parley.ledger.transaction import Transaction, sign

from tests.contract import DAY, digest, key
from tests.contract_moves import MEMBERS
from tests.ledger.histories import START, History


class Ended(NamedTuple):
    """What is left of the embedded engine: its state, and the checkpoint that all have cosigned."""

    spec: object
    consortium: str
    replica: object
    final: object
    leaves: list


def end_embedded(folder, *, seed=21, cosigners=tuple(MEMBERS), height_off=0):
    """Write a ledger to ``folder`` as bank's embedded engine does, and end it as the members have voted."""
    history = History(seed, 150)
    log = MemberLog(folder, "bank", key("bank", "cosigning"))
    log.begin(history.spec.value())
    for first in range(0, len(history.signed), 7):
        seal(log, history.signed[first : first + 7])
    author = Author(history.driver.ledger.consortium)
    at = log.replica.height + 5  # the vote, and a block in between
    reinstate(log, author)
    vote(log, author, {"kind": "engine", "height": at + 3 + height_off})
    while log.replica.height < at + 2:
        table = {"name": f"t{log.replica.height}", "schema": digest("s"), "rows": 1, "root": digest("r")}
        seal(log, [author.signed("retailer", "table.register", table).data])
    note = log.note(log.size)
    lines = [cosign(name, note.text, key(name, "cosigning"), 1_790_000_000) for name in cosigners]
    log.add_signatures(log.size, lines)
    leaves = [leaf.data for leaf in log.store.leaves(0, log.size)]
    log.store.close()
    return Ended(history.spec, author.consortium, log.replica, note.with_signatures(lines), leaves)


class Author:
    """Signs for any member, each transaction once."""

    def __init__(self, consortium):
        self.consortium = consortium
        self.count = itertools.count()

    def signed(self, sender, kind, body, expires=9000):
        signing = key(sender, "signing")
        nonce = digest(f"author {next(self.count)}")[:32]
        asked = Transaction(
            consortium=self.consortium,
            sender=sender,
            key=signing.key_id,
            type=kind,
            body=body,
            expires=expires,
            nonce=nonce,
        )
        return sign(asked, signing)


def seal(log, txs):
    executed, _ = log.prepare(txs, 1_790_000_000)
    if executed.leaves:
        log.seal(executed)
    return executed.receipts


def reinstate(log, author):
    """Have every member active again: the random history may have suspended some."""
    for path in list(log.replica.state.keys("member/")):
        member = log.replica.state.get(path)
        if member["standing"] == "suspended":
            vote(log, author, {"kind": "reinstate", "member": member["name"], "why": "x"}, one_block=True)


def vote(log, author, subject, *, one_block=False):
    """Propose and let the others say yes, in one block or two."""
    active = [
        name for name in sorted(MEMBERS) if log.replica.state.get(f"member/{name}")["standing"] == "active"
    ]
    proposer, *others = active
    proposed = author.signed(proposer, "vote.propose", {"subject": subject, "until": START + DAY})
    ballot = {"proposal": proposed.digest.hex(), "ballot": "yes"}
    ballots = [author.signed(name, "vote.cast", ballot).data for name in others]
    if one_block:
        seal(log, [proposed.data, *ballots])
    else:
        seal(log, [proposed.data])
        seal(log, ballots)
