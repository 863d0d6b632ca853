"""Objective proof: two statements signed by one key that cannot both be true. It suspends the signer at once.

Nothing here is a matter of opinion, so nobody votes. A statement counts whether or not it ever reached the
ledger. A key that was replaced by the recovery key may have been stolen: what it signed suspends nobody, and
members may vote.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from parley.ledger.checkpoint import fork_evidence
from parley.ledger.contract.consortium import CONSORTIUM, Consortium
from parley.ledger.contract.fields import Count, Digest, Height, Party
from parley.ledger.contract.members import Key, find_member, key_path, set_standing
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rounds import (
    ALIGNMENT,
    CommitAlignment,
    Commitment,
    CommitRound,
    CommitRounds,
    Reveal,
    commitment_path,
    fits,
)
from parley.ledger.contract.rule import NOT_REMOVED, Act, B, Body, Rule
from parley.ledger.contract.state import Draft, Record
from parley.ledger.encoding import EncodingError
from parley.ledger.notes import Kind, NoteError, NoteKey
from parley.ledger.transaction import Transaction, open_signed

Hex: TypeAlias = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})+\Z", max_length=24_000)]


def log_origin(consortium: str) -> str:
    """The origin line of the checkpoints of a consortium's ledger; no two ledgers have the same."""
    return f"parley/{consortium}"


class Evidence(Record, frozen=True):
    """A proof that was accepted.

    Attributes:
        against: whom it suspended; if that member was suspended or removed already, nothing more came of it.
        by: who showed it.
        transaction: digest of the transaction that holds both statements.
        height: when.
    """

    PATH = "evidence/<kind>/<what it is about>/<member>"

    against: str
    by: str
    transaction: str
    height: Height


class Checkpoints(Record, frozen=True, tag_field="kind", tag="checkpoints"):
    """Two checkpoints of this ledger and of one size that differ, both signed or cosigned with one key.

    Attributes:
        key: id of a cosigning key.
        name: its name in the notes; the ledger's own signature bears the origin instead.
        first: a signed note (C2SP tlog-checkpoint, tlog-cosignature), its bytes in hexadecimal.
        second: the other.
    """

    PATH = ""

    key: Digest
    name: Annotated[str, Meta(min_length=1, max_length=128)]
    first: Hex
    second: Hex

    def against(self, draft: Draft) -> tuple[Party, str]:
        """Whom it convicts, and of what; refused unless it does."""
        key = draft.find(Key, key_path(self.key)) or refuse("evidence-invalid", "no such key")
        if key.kind != "cosigning":
            refuse("evidence-invalid", "not a cosigning key")
        _check_not_stolen(key)
        public = bytes.fromhex(key.public)
        origin = log_origin(draft.known(Consortium, CONSORTIUM).id)
        named = (
            NoteKey(origin, Kind.ED25519, public),
            NoteKey(self.name, Kind.ED25519, public),
            NoteKey(self.name, Kind.COSIGNATURE_V1, public),
        )
        try:
            fork = fork_evidence(bytes.fromhex(self.first), bytes.fromhex(self.second), named)
        except NoteError:
            refuse("evidence-invalid", "not two checkpoints signed with this key")
        if fork is None or fork.first.origin != origin:
            refuse("evidence-invalid", "the checkpoints do not contradict each other")
        return key.member, f"checkpoints/{fork.first.size}"


class Commitments(Record, frozen=True, tag_field="kind", tag="commitments"):
    """Two signed transactions of one member that commit to different things for one round of one run.

    Attributes:
        first: one signed transaction, its bytes in hexadecimal.
        second: the other.
    """

    PATH = ""

    first: Hex
    second: Hex

    def against(self, draft: Draft) -> tuple[Party, str]:
        """Whom it convicts, and of what; refused unless it does."""
        one, other = _signed(draft, self.first), _signed(draft, self.second)
        about, said = _committed(one)
        if one.sender != other.sender or _committed(other)[0] != about or _committed(other)[1] == said:
            refuse("evidence-invalid", "the commitments do not contradict each other")
        return one.sender, f"commitments/{about[0]}/{about[1]:09}"


class Rounds(Record, frozen=True, tag_field="kind", tag="rounds"):
    """As `Commitments`, where a transaction may commit to several rounds.

    Attributes:
        round: the round for which they differ.
        first: one signed transaction, its bytes in hexadecimal.
        second: the other.
    """

    PATH = ""

    round: Count
    first: Hex
    second: Hex

    def against(self, draft: Draft) -> tuple[Party, str]:
        """Whom it convicts, and of what; refused unless it does."""
        one, other = _signed(draft, self.first), _signed(draft, self.second)
        run, said = _committed_to(one, self.round)
        if one.sender != other.sender or _committed_to(other, self.round)[0] != run:
            refuse("evidence-invalid", "the commitments are not one member's to one run")
        if _committed_to(other, self.round)[1] == said:
            refuse("evidence-invalid", "the commitments do not contradict each other")
        return one.sender, f"commitments/{run}/{self.round:09}"


class FalseReveal(Record, frozen=True, tag_field="kind", tag="reveal"):
    """A signed transaction that reveals what does not belong to its sender's commitment.

    Attributes:
        reveal: the signed transaction, its bytes in hexadecimal.
    """

    PATH = ""

    reveal: Hex

    def against(self, draft: Draft) -> tuple[Party, str]:
        """Whom it convicts, and of what; refused unless it does."""
        shown = _signed(draft, self.reveal)
        body = _body(shown, "round.reveal", Reveal)
        path = commitment_path(body.run, body.round, shown.sender)
        commitment = draft.find(Commitment, path) or refuse("commitment-unknown", path)
        if fits(body, commitment):
            refuse("evidence-invalid", "the message belongs to the commitment")
        return shown.sender, f"reveal/{body.run}/{body.round:09}"


class Submit(Body, frozen=True):
    """Show a proof.

    Attributes:
        proof: of which kind, with the statements.
    """

    proof: Checkpoints | Commitments | FalseReveal


class SubmitRounds(Body, frozen=True):
    """As `Submit`, with the proofs that version 2 of the contract knows.

    Attributes:
        proof: of which kind, with the statements.
    """

    proof: Checkpoints | Commitments | Rounds | FalseReveal


def submit(act: Act[Submit] | Act[SubmitRounds]) -> None:
    """Check a proof and suspend whom it convicts, once for each thing proven."""
    culprit, about = act.body.proof.against(act.draft)
    path = f"evidence/{about}/{culprit}"
    if act.draft.has(path):
        refuse("evidence-known", path)
    proven = Evidence(against=culprit, by=act.sender.name, transaction=act.digest, height=act.height)
    act.draft.put(path, proven)
    member = find_member(act.draft, culprit)
    if member.standing == "active":
        set_standing(act.draft, member, "suspended", act.height, path)


def _check_not_stolen(key: Key) -> None:
    if key.stolen:
        refuse("evidence-key-stolen", key.member)


def _signed(draft: Draft, text: str) -> Transaction:
    """A transaction of this ledger with a good signature by its sender's key, whatever became of it."""
    try:
        envelope = open_signed(bytes.fromhex(text))
    except EncodingError:
        refuse("evidence-invalid", "not a signed transaction")
    transaction = envelope.transaction
    key = draft.find(Key, key_path(transaction.key))
    if key is None or key.member != transaction.sender or key.kind != "signing":
        refuse("evidence-invalid", "not signed with a signing key of its sender")
    if transaction.consortium != draft.known(Consortium, CONSORTIUM).id:
        refuse("evidence-invalid", "meant for another ledger")
    if not envelope.verify(bytes.fromhex(key.public)):
        refuse("evidence-invalid", "the signature is not the key's")
    _check_not_stolen(key)
    return transaction


def _committed(transaction: Transaction) -> tuple[tuple[str, int], tuple[str, int]]:
    """The run and round that a transaction commits to, and the root and number of messages it states."""
    if transaction.type == "run.align":
        alignment = _body(transaction, "run.align", CommitAlignment)
        return (alignment.run, ALIGNMENT), (alignment.root, alignment.messages)
    commitment = _body(transaction, "round.commit", CommitRound)
    return (commitment.run, commitment.round), (commitment.root, commitment.messages)


def _committed_to(transaction: Transaction, number: int) -> tuple[str, tuple[str, int]]:
    """The run, and what a transaction states of one round of it; refused if it states nothing of it."""
    if transaction.type != "rounds.commit":
        (run, only), stated = _committed(transaction)
        if only != number:
            refuse("evidence-invalid", f"a commitment to round {only} where {number} is due")
        return run, stated
    body = _body(transaction, "rounds.commit", CommitRounds)
    if not body.first <= number < body.first + len(body.rounds):
        refuse("evidence-invalid", f"no commitment to round {number}")
    said = body.rounds[number - body.first]
    return body.run, (said.root, said.messages)


def _body(transaction: Transaction, type_: str, schema: type[B]) -> B:
    if transaction.type != type_:
        refuse("evidence-invalid", f"{transaction.type} where {type_} is due")
    try:
        return msgspec.convert(transaction.body, schema)
    except msgspec.ValidationError:
        refuse("evidence-invalid", f"the body is not one of {type_}")


RULES = (Rule("evidence.submit", Submit, submit, standing=NOT_REMOVED),)
RULES_2 = (Rule("evidence.submit", SubmitRounds, submit, standing=NOT_REMOVED),)
"""What version 2 of the contract has instead."""
