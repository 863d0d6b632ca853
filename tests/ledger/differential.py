"""The same random transactions through an engine, a straight replay, and other processes: one state root."""

import random
from dataclasses import dataclass

from parley.ledger.merkle import Frontier
from parley.ledger.replica import Replica
from parley.ledger.transaction import SignedTransaction, sign

from tests.contract import START, key, spec
from tests.contract_moves import MEMBERS, Driver

SPEC = spec(MEMBERS)


@dataclass(frozen=True)
class Envelope:
    """A transaction as it is submitted, and whether an engine drops it."""

    data: bytes
    signed: object
    dropped: bool


def envelopes(seed, count):
    """Legal and illegal transactions; one in twelve is malformed by its signature, expired, or a replay."""
    chooser = random.Random(seed)
    driver = Driver(chooser.choice)
    made = []
    while len(made) < count:
        transaction = driver.next()
        driver.ledger.execute(transaction)
        kind = "invitation" if transaction.type == "member.join" else "signing"
        signer = key(transaction.sender, kind)
        if signer.key_id != transaction.key:
            continue
        envelope = sign(transaction, signer)
        match chooser.randrange(36):
            case 0:
                asked = driver.ledger.transaction("bank", "no.such", {}, nonce=f"x{len(made)}")
                forged = SignedTransaction.assemble(asked, asked.encoded(), envelope.signature)
                made.append(Envelope(forged.data, forged, dropped=True))
            case 1:
                late = driver.ledger.transaction("bank", "no.such", {}, expires=0, nonce=f"y{len(made)}")
                late = sign(late, key("bank", "signing"))
                made.append(Envelope(late.data, late, dropped=True))
            case 2 if made and not made[-1].dropped:
                made.append(made[-1])
        made.append(Envelope(envelope.data, envelope, dropped=False))
    return made


def replayed(batches):
    """The replica after straight execution of batches: (time, envelopes)."""
    replica = Replica({}, Frontier())
    replica.adopt(replica.begin(SPEC.value()))
    for time, datas in batches:
        executed, _ = replica.prepare(datas, time)
        if executed.leaves:
            replica.adopt(executed)
    return replica


def straight(made, size=64, time=START + 1):
    """The replica after all of it, in blocks of ``size``."""
    datas = [one.data for one in made]
    return replayed((time, datas[first : first + size]) for first in range(0, len(datas), size))
