"""Moving a consortium from the embedded engine to CometBFT, with its history.

1. The members vote on an ``engine`` subject with a height: the first that CometBFT orders.
2. The embedded engine seals the block before that height as its last, and the members cosign it: the final
   checkpoint.
3. `carried` makes of it what the genesis file of the chain carries; the validators are the active members'
   cosigning keys. `genesis_of` writes the file, the same at every member, from nothing but the ledger.
4. Each party starts CometBFT in the directory of its embedded ledger. Before the first block its application
   makes sure that its own log and state are those of the checkpoint (`check_carried`), and goes on behind
   them: same file, same Merkle tree, next height.

A party that has no such ledger, or lost it, copies that of another member first; the checkpoint says whether
the copy is whole.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from parley.core.errors import UsageError
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.contract import View
from parley.ledger.contract.consortium import ENGINE, Engine
from parley.ledger.contract.state import Draft
from parley.ledger.electorate import Electorate, origin
from parley.ledger.engines.cometbft.beginning import Beginning, Carried
from parley.ledger.engines.cometbft.files import GenesisMember, genesis_file
from parley.ledger.engines.cometbft.log import ChainLog
from parley.ledger.engines.cometbft.validators import POWER, validators
from parley.ledger.notes import NoteError, SignedNote
from parley.ledger.replica import Replica

_ID_LETTERS: Final = 40
"""Of the consortium's id in the chain's, which may have 50 characters."""


def carried(replica: Replica, final: SignedNote, nodes: Mapping[str, str]) -> Beginning:
    """What the genesis file of the chain carries of the embedded log that ends here.

    Args:
        replica: of the embedded log.
        final: its last checkpoint, with the members' cosignatures.
        nodes: node id by member, for those that have not announced theirs.

    Raises:
        UsageError: the log does not end where the members have voted, or the checkpoint is not final.

    """
    _check_end(replica)
    _check_signatures(replica.state, final)
    _check_equal(replica, final.text)
    return Beginning(Carried(final.text), nodes)


def genesis_of(replica: Replica, final: SignedNote) -> str:
    """The genesis file of the chain, for members that have all announced their nodes on the ledger.

    Its time is that of the last block, its chain id comes of the consortium's: the same at every member.

    Raises:
        UsageError: as `carried`; or no active member has announced a node.

    """
    beginning = carried(replica, final, {})
    members = genesis_members(replica.state, {})
    if not members:
        raise UsageError(
            "nodes-unknown",
            "no active member has announced a CometBFT node",
            remedy="nothing helps any more: announce nodes before the members vote on the engine",
        )
    consortium = origin(replica.state).removeprefix("parley/")
    time = datetime.fromtimestamp(replica.time, UTC)
    return genesis_file(f"parley-{consortium[:_ID_LETTERS]}", time, members, beginning.app_state())


def genesis_members(view: View, nodes: Mapping[str, str]) -> tuple[GenesisMember, ...]:
    """The validators for the genesis file: the active members that have a node, with their cosigning keys."""
    return tuple(GenesisMember(name, key, POWER) for key, name in validators(view, nodes).items())


def check_carried(log: ChainLog, text: str) -> None:
    """Make sure that a party's own ledger is the one that the chain carries on.

    Numbered checks: 1 the members have voted for CometBFT from the next height on; 2 consortium, size, root
    of the log and root of the state are our own; 3 our copy of the checkpoint bears the signatures of a
    majority.

    Args:
        log: our own.
        text: of the checkpoint that the chain carries.

    Raises:
        UsageError: ``carried-…``, one of them fails; nothing was changed.

    """
    ours = log.note(log.size) if log.size else None
    if ours is None:
        raise _differs("carried-missing", f"{log.name} has no ledger, and the chain goes on from one")
    # 1
    _check_end(log.replica)
    # 2
    _check_equal(log.replica, text)
    # 3
    _check_signatures(log.replica.state, ours)


def _check_end(replica: Replica) -> None:
    engine = Draft(replica.state).known(Engine, ENGINE)
    if engine.kind != "cometbft" or engine.height != replica.height + 1:
        raise _differs(
            "carried-height",
            f"the embedded log ends at height {replica.height}; the members have voted for {engine.kind} "
            f"from height {engine.height} on",
        )


def _check_signatures(view: View, note: SignedNote) -> None:
    voters = Electorate.of(view)
    signed = len(voters.good(note.text, note.signatures))
    if signed < voters.quorum:
        raise _differs(
            "carried-not-final",
            f"{signed} of {len(voters.keys)} members have cosigned the last checkpoint, {voters.quorum} must",
        )


def _check_equal(replica: Replica, text: str) -> None:
    try:
        sealed = Checkpoint.parse(text)
    except NoteError as error:
        raise _differs(
            "carried-unreadable", f"the checkpoint that the chain carries is none: {error}"
        ) from None
    own = Checkpoint.seal(origin(replica.state), replica.size, replica.frontier.root(), replica.state.root)
    for what, theirs, ours in (
        ("consortium", sealed.origin, own.origin),
        ("size", sealed.size, own.size),
        ("log root", sealed.root.hex(), own.root.hex()),
        ("state root", sealed.state_root.hex(), own.state_root.hex()),
    ):
        if theirs != ours:
            raise _differs(
                "carried-differs", f"the chain goes on from {what} {theirs}; the ledger here has {ours}"
            )


def _differs(code: str, what: str) -> UsageError:
    return UsageError(
        code, what, remedy="make the embedded ledgers equal first: `parley ledger verify` at every member"
    )
