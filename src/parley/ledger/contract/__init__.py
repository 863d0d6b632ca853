"""The contract: the rules that accept or refuse what members of a consortium do.

A pure function of the state, a transaction and its block. Everyone who replays the same transactions comes to
the same state and the same receipts, so everyone can check what the ledger says.

    genesis(spec)                            → the first writes
    admit(view, bytes, block, verify)        → a transaction to be executed, or why it is dropped
    apply(view, transaction, block)          → the writes and the numbered receipt
"""

from parley.ledger.contract.admission import EXPIRY_WINDOW, Verify, admit
from parley.ledger.contract.evidence import log_origin
from parley.ledger.contract.execution import apply
from parley.ledger.contract.founding import Founder, Genesis, consortium_id, genesis
from parley.ledger.contract.outcome import Block, Dropped, Outcome, Receipt
from parley.ledger.contract.plans import plan_id
from parley.ledger.contract.refusal import CODES
from parley.ledger.contract.rules import VERSIONS
from parley.ledger.contract.state import View, Write

__all__ = [
    "CODES",
    "EXPIRY_WINDOW",
    "VERSIONS",
    "Block",
    "Dropped",
    "Founder",
    "Genesis",
    "Outcome",
    "Receipt",
    "Verify",
    "View",
    "Write",
    "admit",
    "apply",
    "consortium_id",
    "genesis",
    "log_origin",
    "plan_id",
]
