"""When the sequencer is lost: a majority promises another member, off the ledger, that it orders from now on.

A lost sequencer cannot order its own replacement. So each member signs, with its cosigning key, a promise
that names the successor, an epoch, and the highest checkpoint the member ever signed; from then on it signs
nothing of an earlier epoch. The successor's first transaction carries the promises of a majority.

Any checkpoint that is final bears signatures of a majority, so at least one of the promises is of a member
that signed it or a later one: the log that goes on must have the highest checkpoint of all promises, and
then loses nothing that was final. Checkpoints compare by epoch first and size second, as terms and indices
do in Raft (Ongaro, Ousterhout, USENIX ATC 2014, section 5.4.1).
"""

from typing import Annotated, Final

from msgspec import Meta

from parley.crypto.signatures import verify
from parley.ledger.contract.consortium import CONSORTIUM, ENGINE, Consortium, Engine, may_be_replaced
from parley.ledger.contract.fields import Count, Digest, Height, Party, Positive, ascending
from parley.ledger.contract.members import Key, Member, active_members, key_path
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import Act, Body, Rule
from parley.ledger.contract.state import Draft, Record, View
from parley.ledger.encoding import encode

DOMAIN: Final = "parley/handover/v1"
TAKEOVER: Final = "meta/takeover"


class LastTakeover(Record, frozen=True):
    """The last time that a lost sequencer was replaced.

    Attributes:
        epoch: rises with every takeover.
        base: leaves of the log before it; all behind them in the lost sequencer's log is void.
        height: of its block.
    """

    PATH = "meta/takeover"

    epoch: Positive
    base: Count
    height: Height


class Promise(Record, frozen=True):
    """One member's promise; epoch and successor are those of the transaction that carries it.

    Attributes:
        member: who promises.
        era: epoch of the log in which it signed its highest checkpoint; 0 before any takeover.
        size: leaves of that checkpoint; 0 if it never signed one.
        root: of the log there; zeros if it never signed one.
        signature: of `promised`, by its cosigning key.
    """

    PATH = ""

    member: Party
    era: Count
    size: Count
    root: Digest
    signature: Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z")]


class Takeover(Body, frozen=True):
    """Become the sequencer; signed with the successor's cosigning key, alone in its block.

    Attributes:
        epoch: higher than that of any takeover before.
        promises: of a majority of the active members, ascending by member.
    """

    epoch: Positive
    promises: Annotated[tuple[Promise, ...], Meta(min_length=1, max_length=64)]


def promised(consortium: str, epoch: int, successor: str, promise: Promise) -> bytes:
    """What a member signs."""
    return encode(
        {
            "consortium": consortium,
            "epoch": epoch,
            "era": promise.era,
            "member": promise.member,
            "root": promise.root,
            "sequencer": successor,
            "size": promise.size,
        }
    )


def is_promised(view: View, epoch: int, successor: str, promise: Promise) -> bool:
    """Whether the promise is that of an active member, by its cosigning key of now."""
    return _is_promised(Draft(view), epoch, successor, promise)


def is_possible(view: View, height: int) -> bool:
    """Whether the contract takes a takeover at ``height``, behind this state."""
    return may_be_replaced(Draft(view), height)


def epoch_of(view: View) -> int:
    """The epoch of the last takeover; 0 before the first."""
    last = Draft(view).find(LastTakeover, TAKEOVER)
    return 0 if last is None else last.epoch


def take_over(act: Act[Takeover]) -> None:
    """Check, in this order, the engine, the epoch, the promises, their number, and where the log goes on."""
    draft, body, successor = act.draft, act.body, act.sender.name
    engine = draft.known(Engine, ENGINE)
    if not may_be_replaced(draft, act.height) or engine.sequencer == successor:
        refuse("takeover-moot", f"the engine is {engine.kind}, its sequencer {engine.sequencer}")
    last = draft.find(LastTakeover, TAKEOVER)
    era = 0 if last is None else last.epoch
    if body.epoch <= era:
        refuse("takeover-moot", f"epoch {body.epoch} after epoch {era}")
    if not ascending([promise.member for promise in body.promises]):
        refuse("takeover-invalid", "promises must ascend by member, each once")
    for promise in body.promises:
        if not _is_promised(draft, body.epoch, successor, promise):
            refuse("takeover-invalid", f"the promise of {promise.member} does not hold")
    needed = len(active_members(draft)) // 2 + 1
    if len(body.promises) < needed:
        refuse("takeover-invalid", f"{len(body.promises)} promises; needed are {needed}")
    base = max((promise.era, promise.size) for promise in body.promises)
    # a receipt's number is that of its leaf, since the genesis is leaf 0 and has none
    if base != (era, act.number):
        refuse("takeover-invalid", f"the log goes on at leaf {act.number}; promised is {base[1]}")
    # where the members have decided on CometBFT, its height stands, and the successor orders up to it
    height = act.height if engine.kind == "embedded" else engine.height
    draft.put(ENGINE, engine.but(sequencer=successor, height=height))
    draft.put(TAKEOVER, LastTakeover(epoch=body.epoch, base=act.number, height=act.height))


def _is_promised(draft: Draft, epoch: int, successor: str, promise: Promise) -> bool:
    member = draft.find(Member, f"member/{promise.member}")
    if member is None or member.standing != "active":
        return False
    public = bytes.fromhex(draft.known(Key, key_path(member.cosigning)).public)
    text = promised(draft.known(Consortium, CONSORTIUM).id, epoch, successor, promise)
    return verify(public, DOMAIN, text, bytes.fromhex(promise.signature))


RULES = (Rule("sequencer.takeover", Takeover, take_over, keys=("cosigning",)),)
