"""Executing one transaction: number it, find its rule, let the rule accept or refuse it."""

from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from parley.core.errors import UsageError
from parley.ledger.contract.consortium import COUNT, VERSIONS, ContractVersions, LedgerCount
from parley.ledger.contract.fields import Positive
from parley.ledger.contract.members import Key, Member, find_member, key_path
from parley.ledger.contract.outcome import ACCEPTED, REFUSED, Block, Outcome, Receipt
from parley.ledger.contract.refusal import Refusal, refuse
from parley.ledger.contract.rule import Act, Body, Rule, Rules
from parley.ledger.contract.rules import VERSIONS as KNOWN_VERSIONS
from parley.ledger.contract.state import Draft, Record, View
from parley.ledger.transaction import Transaction

EXPIRY_DIGITS: Final = 16
CLEARED_AT_ONCE: Final = 1024
"""How many marks of expired transactions the first transaction of a block clears away."""


class Seen(Record, frozen=True):
    """Marks a transaction as executed until it has expired, so that it is never executed again.

    Attributes:
        receipt: number of its receipt.
    """

    PATH = "seen/<expiry>/<digest>"

    receipt: Positive


def apply(
    view: View,
    transaction: Transaction,
    block: Block,
    *,
    digest: str | None = None,
    versions: Mapping[int, Rules] = KNOWN_VERSIONS,
) -> Outcome:
    """Execute an admitted transaction.

    A refused transaction changes nothing but the count of receipts, the contract's time and the marks of
    executed transactions.

    Args:
        view: the state before it.
        transaction: as `admit` gave it for this very state.
        block: where it stands.
        digest: the transaction's, in hexadecimal, if it is known already; spares encoding it again.
        versions: the rules of every known version.

    Raises:
        UsageError: the rules that hold at this height are of a version that this program does not know.
    """
    draft = Draft(view)
    digest = transaction.digest.hex() if digest is None else digest
    before = draft.known(LedgerCount, COUNT)
    count = LedgerCount(receipts=before.receipts + 1, height=block.height, time=max(before.time, block.time))
    rules = _rules_at(draft, block.height, versions)
    status, code, reason = ACCEPTED, ACCEPTED, ""
    try:
        _execute(draft, transaction, digest, rules, count)
    except Refusal as refusal:
        draft.forget()
        status, code, reason = REFUSED, refusal.code, str(refusal)
    if block.height > before.height:
        _clear_expired(draft, block.height)
    draft.put(COUNT, count)
    draft.put(seen_path(transaction.expires, digest), Seen(receipt=count.receipts))
    return Outcome(draft.writes(), Receipt(count.receipts, digest, status, code, reason))


def seen_path(expires: int, digest: str) -> str:
    """Where the mark of an executed transaction stands."""
    return f"seen/{expires:0{EXPIRY_DIGITS}}/{digest}"


def _execute(draft: Draft, transaction: Transaction, digest: str, rules: Rules, count: LedgerCount) -> None:
    """Check, in this order, the key, the type, the sender, the body; then act."""
    sender = find_member(draft, transaction.sender)
    key = draft.find(Key, key_path(transaction.key))
    if key is None or key.revoked is not None or key.member != sender.name:
        refuse("key-not-valid", transaction.key[:16])
    rule = rules.get(transaction.type) or refuse("type-unknown", transaction.type)
    _check_sender(rule, sender, key)
    try:
        body: Body = msgspec.convert(transaction.body, rule.body)
    except msgspec.ValidationError:
        refuse("body-invalid", transaction.type)
    rule.act(
        Act(
            draft=draft,
            sender=sender,
            key=key,
            body=body,
            digest=digest,
            number=count.receipts,
            height=count.height,
            now=count.time,
        )
    )


def _check_sender(rule: Rule[Any], sender: Member, key: Key) -> None:
    if key.kind not in rule.keys:
        refuse("key-not-allowed", f"{rule.name} is not signed with a {key.kind} key")
    if sender.standing not in rule.standing:
        refuse("member-suspended", f"{sender.name} is {sender.standing}")
    if sender.role not in rule.roles:
        refuse("role-not-allowed", f"{sender.name} is {sender.role}")


def _rules_at(draft: Draft, height: int, versions: Mapping[int, Rules]) -> Rules:
    version = draft.known(ContractVersions, VERSIONS).at(height)
    if version not in versions:
        raise UsageError(
            "contract-version",
            f"from height {height} on the ledger follows version {version} of the contract; known here: "
            f"{', '.join(str(known) for known in sorted(versions))}",
            remedy="install a release of Parley that knows it; the ledger waits unharmed",
        )
    return versions[version]


def _clear_expired(draft: Draft, height: int) -> None:
    """Delete marks that have served: their transactions are too old to be admitted again."""
    for path in islice(draft.stored("seen/"), CLEARED_AT_ONCE):
        if int(path.split("/")[1]) >= height:
            break
        draft.drop(path)
