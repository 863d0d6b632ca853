"""Rounds of a run: what each participant commits to, in order, and what it later reveals of it.

Round 0 is the alignment; training rounds are 1, 2 … A participant's rounds follow one another without a gap.
From version 2 of the contract on one transaction may commit to several.
A round is opened by the first commitment to it and closed by the last. A participant may be `ROUNDS_AHEAD`
rounds ahead of the last closed one, so that nobody waits for the ledger in the middle of training.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from parley.ledger.contract.fields import Count, Digest, Height, Name, Party, Positive
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.runs import Run, advance, find_run, participation
from parley.ledger.contract.state import Record
from parley.ledger.merkle import verify_inclusion

ROUNDS_AHEAD: Final = 64
ROUNDS_AT_ONCE: Final = ROUNDS_AHEAD // 2
"""Rounds that one transaction commits to: with them nobody is further ahead than is allowed."""
ALIGNMENT: Final = 0


class Commitment(Record, frozen=True):
    """What one participant committed to for one round.

    Attributes:
        root: Merkle root over the messages of the round that it sent or received.
        messages: how many there are.
        transaction: digest of the transaction that said so.
        height: when.
    """

    PATH = "round/<run>/<round>/<member>"

    root: str
    messages: int
    transaction: str
    height: Height


class Revealed(Record, frozen=True):
    """A message proven to belong to a commitment.

    Attributes:
        leaf: its hash.
        height: when.
    """

    PATH = "reveal/<run>/<round>/<member>/<index>"

    leaf: str
    height: Height


class CommitAlignment(Body, frozen=True):
    """Commit to the messages of the alignment.

    Attributes:
        run: which.
        rows: common rows; all participants state the same.
        root: Merkle root over the messages.
        messages: how many.
    """

    run: Name
    rows: Positive
    root: Digest
    messages: Count


class CommitRound(Body, frozen=True):
    """Commit to the messages of a training round.

    Attributes:
        run: which.
        round: from 1.
        root: Merkle root over the messages.
        messages: how many.
    """

    run: Name
    round: Positive
    root: Digest
    messages: Count


class Said(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was said in one of several rounds.

    Attributes:
        root: Merkle root over the messages.
        messages: how many.
    """

    root: Digest
    messages: Count


class CommitRounds(Body, frozen=True):
    """Commit to the messages of training rounds that follow one another.

    Attributes:
        run: which.
        first: the first round, from 1.
        rounds: what was said in it and in those after it.
    """

    run: Name
    first: Positive
    rounds: Annotated[tuple[Said, ...], Meta(min_length=1, max_length=ROUNDS_AT_ONCE)]


class Reveal(Body, frozen=True):
    """Show that a message belongs to a commitment of one's own.

    Attributes:
        run: which.
        round: which, 0 for the alignment.
        index: of the message in the round.
        leaf: hash of the message.
        path: the inclusion proof (RFC 6962), from the leaf upwards.
    """

    run: Name
    round: Count
    index: Count
    leaf: Digest
    path: Annotated[tuple[Digest, ...], Meta(max_length=64)]


def commit_alignment(act: Act[CommitAlignment]) -> None:
    """Enter a commitment to round 0; the last one opens training."""
    body = act.body
    run = participation(act, body.run)
    _check_new(act, run, ALIGNMENT, body.root)
    if run.state != "aligning":
        refuse("run-state", f"commit to the alignment while {run.state}")
    if body.rows > run.limits.rows:
        refuse("rows-exceeded", f"{body.rows} of {run.limits.rows}")
    if run.rows not in (None, body.rows):
        refuse("rows-disagree", f"{body.rows}, not {run.rows}")
    commitment = Commitment(root=body.root, messages=body.messages, transaction=act.digest, height=act.height)
    run = _entered(act, run.but(rows=body.rows), commitment)
    if run.closed > ALIGNMENT:
        advance(act, run, "aligned")


def commit_round(act: Act[CommitRound]) -> None:
    """Enter a commitment to a training round."""
    body = act.body
    run = participation(act, body.run)
    _check_new(act, run, body.round, body.root)
    if run.state != "training":
        refuse("run-state", f"commit to a round while {run.state}")
    following = run.committed[act.sender.name]
    if body.round != following:
        refuse("round-gap", f"round {body.round} where {following} is due")
    if body.round > run.limits.rounds:
        refuse("rounds-exceeded", f"round {body.round} of {run.limits.rounds}")
    if body.round >= run.closed + ROUNDS_AHEAD:
        refuse("round-ahead", f"round {body.round} while {run.closed - 1} is the last closed")
    commitment = Commitment(root=body.root, messages=body.messages, transaction=act.digest, height=act.height)
    _entered(act, run, commitment)


def commit_rounds(act: Act[CommitRounds]) -> None:
    """Enter commitments to training rounds, less those that the sender has made before."""
    body, sender = act.body, act.sender.name
    run = participation(act, body.run)
    if body.first < run.committed[sender]:
        body = _without_known(act, run)
    if run.state != "training":
        refuse("run-state", f"commit to rounds while {run.state}")
    following, last = run.committed[sender], body.first + len(body.rounds) - 1
    if body.first != following:
        refuse("round-gap", f"round {body.first} where {following} is due")
    if last > run.limits.rounds:
        refuse("rounds-exceeded", f"round {last} of {run.limits.rounds}")
    if last >= run.closed + ROUNDS_AHEAD:
        refuse("round-ahead", f"round {last} while {run.closed - 1} is the last closed")
    for said in body.rounds:
        commitment = Commitment(
            root=said.root, messages=said.messages, transaction=act.digest, height=act.height
        )
        run = _entered(act, run, commitment)


def _without_known(act: Act[CommitRounds], run: Run) -> CommitRounds:
    """The rounds that the sender has not committed to; refused if there are none, or one differs."""
    body = act.body
    known = run.committed[act.sender.name] - body.first
    for number, said in enumerate(body.rounds[:known], body.first):
        path = commitment_path(run.id, number, act.sender.name)
        if act.draft.known(Commitment, path).root != said.root:
            refuse("commitment-conflict", path)
    if len(body.rounds) <= known:
        refuse("commitment-duplicate", commitment_path(run.id, body.first, act.sender.name))
    return CommitRounds(run=body.run, first=body.first + known, rounds=body.rounds[known:])


def reveal(act: Act[Reveal]) -> None:
    """Enter a message that belongs to a commitment of the sender."""
    body, draft = act.body, act.draft
    find_run(draft, body.run)
    path = commitment_path(body.run, body.round, act.sender.name)
    commitment = draft.find(Commitment, path) or refuse("commitment-unknown", path)
    if not fits(body, commitment):
        refuse("reveal-mismatch", f"message {body.index} of {path}")
    revealed = f"reveal/{body.run}/{body.round:09}/{act.sender.name}/{body.index}"
    if draft.has(revealed):
        refuse("reveal-known", revealed)
    draft.put(revealed, Revealed(leaf=body.leaf, height=act.height))


def fits(body: Reveal, commitment: Commitment) -> bool:
    """Whether what is revealed belongs to the commitment."""
    path = [bytes.fromhex(node) for node in body.path]
    return body.index < commitment.messages and verify_inclusion(
        bytes.fromhex(body.leaf), body.index, commitment.messages, path, bytes.fromhex(commitment.root)
    )


def commitment_path(run: str, number: int, member: Party) -> str:
    """Where a commitment stands."""
    return f"round/{run}/{number:09}/{member}"


def _check_new(act: Act[Body], run: Run, number: int, root: str) -> None:
    """Refuse a second commitment to one round, whatever the state of the run."""
    path = commitment_path(run.id, number, act.sender.name)
    made = act.draft.find(Commitment, path)
    if made is not None:
        refuse("commitment-duplicate" if made.root == root else "commitment-conflict", path)


def _entered(act: Act[Body], run: Run, commitment: Commitment) -> Run:
    """Write the sender's next commitment and count it."""
    sender = act.sender.name
    number = run.committed[sender]
    act.draft.put(commitment_path(run.id, number, sender), commitment)
    counted = run.but(committed={**run.committed, sender: number + 1})
    return advance(act, counted, "commit")


RULES = (
    Rule("run.align", CommitAlignment, commit_alignment, roles=HOLDER),
    Rule("round.commit", CommitRound, commit_round, roles=HOLDER),
    Rule("round.reveal", Reveal, reveal, standing=NOT_REMOVED, roles=HOLDER),
)
RULES_2 = (Rule("rounds.commit", CommitRounds, commit_rounds, roles=HOLDER),)
"""What version 2 of the contract adds."""
