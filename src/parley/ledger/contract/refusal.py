"""Refusals: every reason for which a rule stops a transaction, each under a stable code."""

from typing import Final, NoReturn

CODES: Final = {
    # of the envelope
    "type-unknown": "the contract has no such type of transaction",
    "body-invalid": "the body does not have the fields and bounds of its type",
    "key-not-allowed": "a key of this kind may not sign this type of transaction",
    "key-not-valid": "the key is not the member's, or no longer",
    "member-suspended": "a suspended member may not do this",
    "role-not-allowed": "the sender's role does not allow this",
    # members and votes
    "member-unknown": "no such member",
    "member-known": "the name is or was a member's",
    "member-standing": "the member's standing does not allow this",
    "invitation-expired": "the invitation is past its time",
    "key-invalid": "not the encoding of a usable Ed25519 public key",
    "key-known": "the key stands on this ledger already",
    "proposal-unknown": "no such proposal",
    "proposal-decided": "the proposal has been decided",
    "proposal-expired": "the proposal is past its time",
    "proposal-moot": "the vote would change nothing, or what it asks is impossible now",
    "not-in-electorate": "the sender was not in the electorate when the proposal was made",
    "voted-already": "a member votes once on a proposal",
    "time-out-of-range": "the time or height lies in the past or too far ahead",
    "threshold-invalid": "a threshold lies above one half and at most at the whole electorate",
    "sequencer-cannot-leave": "the sequencer must be handed over first",
    "takeover-moot": "this member orders already, or a later takeover has been made",
    "takeover-invalid": "the takeover lacks good promises of a majority, or goes on at another place",
    "genesis-invalid": "the consortium cannot begin like this",
    # tables, plans, grants
    "table-known": "a table of this name is registered",
    "table-unknown": "no such registered table",
    "plan-known": "this very plan has been proposed",
    "plan-unknown": "no such plan",
    "plan-invalid": "the plan contradicts itself",
    "plan-decided": "the plan is no longer open to this",
    "plan-not-approved": "not every owner of a table has approved this plan",
    "plan-expired": "the plan is past its time",
    "not-an-owner": "the sender owns no table of this plan",
    "not-permitted": "the sender has no part in this that allows it",
    "approved-already": "the sender has approved this",
    "grant-unknown": "no such grant",
    "grant-revoked": "the grant has been revoked",
    "grant-expired": "the grant is past its time, or the plan would outlast it",
    "grant-mismatch": "the plan is not of the kind that the grant lets through",
    "grant-exhausted": "the plan asks for more than is left of the grant",
    # runs and rounds
    "run-known": "a run of this name exists",
    "run-unknown": "no such run",
    "run-state": "the run is in a state that does not allow this",
    "runs-exhausted": "the plan allows no further run",
    "runs-at-once": "too many runs of this plan are under way",
    "party-not-active": "a party of the run is not an active member",
    "not-a-participant": "the sender takes no part in this run",
    "not-the-active-party": "only the party that holds the label may do this",
    "deadline-ahead": "the run's deadline has not passed",
    "rows-exceeded": "the plan allows fewer rows",
    "rows-disagree": "another participant stated another number of rows",
    "round-gap": "the sender's rounds must follow one another",
    "round-ahead": "the other participants are too many rounds behind",
    "rounds-exceeded": "the plan allows fewer rounds",
    "rounds-open": "a round is not closed yet",
    "commitment-duplicate": "this very commitment has been made",
    "commitment-conflict": "the sender committed to something else before; this is evidence of equivocation",
    "commitment-unknown": "no such commitment",
    "reveal-mismatch": "what is revealed does not belong to the commitment; this is evidence",
    "reveal-known": "this message has been revealed",
    "metrics-invalid": "metrics must ascend by name, each once",
    "share-known": "the sender has committed its model share",
    # models
    "model-unknown": "no such model",
    "model-not-trained": "the run has not finished, so there is no whole model",
    "merged-already": "every owner has let this receiver hold the whole forest",
    "model-withdrawn": "the model has been withdrawn",
    "model-not-released": "the model is not released for prediction",
    "release-expired": "the release is past its time",
    "quota-exceeded": "more predictions than the quota has left",
    "batch-gap": "batches of predictions must follow one another",
    # nodes
    "node-known": "another member has announced this node",
    # accountability
    "record-unknown": "no such record",
    "record-known": "this has been recorded",
    "about-itself": "a member does not judge itself",
    "evidence-invalid": "the evidence does not prove what it says",
    "evidence-known": "this has been proven before",
    "evidence-key-stolen": "the key was replaced by recovery, so its statements suspend nobody",
}
"""Code → what it says, for people."""


class Refusal(Exception):
    """A rule forbids the transaction.

    Args:
        code: one of `CODES`.
        detail: names and numbers that make it particular; never free text of a body.

    """

    def __init__(self, code: str, detail: str = "") -> None:
        words = CODES[code]
        super().__init__(f"{words}: {detail}" if detail else words)
        self.code = code


def refuse(code: str, detail: str = "") -> NoReturn:
    """Stop the transaction."""
    raise Refusal(code, detail)
