"""Reading a member's database again, and noticing what is not as it was written."""

import sqlite3

from parley.core.errors import UsageError
from parley.ledger import electorate
from parley.ledger.block import Leaf, read_genesis
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.engines.embedded.store import LedgerStore, StoreFailed
from parley.ledger.merkle import Frontier, leaf_hash
from parley.ledger.notes import parse_note
from parley.ledger.replica import IllegalBlock, Replica

_CHUNK = 1024


class _Damage(Exception):
    """What is not as it was written."""


def replica_of(store: LedgerStore, name: str) -> Replica:
    """The replica as it was left.

    Numbered checks: 1 every leaf has the hash that stands beside it; 2 every checkpoint has the root of
    the leaves before it, and the last one stands behind the last leaf; 3 its state root is that of the
    stored state; 4 a key that was a member's for checkpoints has sealed it, and its cosignatures hold.

    Raises:
        UsageError: ``ledger-damaged``.
    """
    try:
        return _read(store)
    except (_Damage, ValueError, StoreFailed, sqlite3.DatabaseError, KeyError) as error:
        raise UsageError(
            "ledger-damaged",
            f"the ledger of {name} at {store.path} is not as it was written: {error}",
            remedy="move the database away, but not the file beside it; the other members have the ledger",
        ) from None


def replayed(store: LedgerStore, size: int) -> Replica:
    """The replica as it was at an earlier size; `IllegalBlock` unless a block ended there."""
    replica = Replica({}, Frontier())
    while replica.size < size:
        block = store.block_from(replica.size)
        if block is None or block.size > size:
            raise IllegalBlock(f"no block ends at {size} leaves")
        replica.adopt(replica.execute([leaf.data for leaf in block.leaves]))
    return replica


def _read(store: LedgerStore) -> Replica:
    size = store.size
    if not size:
        return Replica({}, Frontier())
    frontier = _checked_leaves(store, size)
    last = store.leaves(size - 1, size)[0].data
    leaf = None if size == 1 else Leaf.decoded(last)
    if leaf is None:
        read_genesis(last)
    replica = Replica(store.state(), frontier, leaf.height if leaf else 0, leaf.time if leaf else 0)
    # 3
    note = parse_note(store.note(size) or b"")
    if Checkpoint.parse(note.text).state_root != replica.state.root:
        raise _Damage("the state has another root than the last checkpoint says")
    # 4
    note.verified(electorate.log_keys(replica.state))
    cosigned = [line for line in note.signatures if line.name != electorate.origin(replica.state)]
    if len(electorate.Electorate.of(replica.state).good(note.text, cosigned)) != len(cosigned):
        raise _Damage("a cosignature of the last checkpoint does not hold")
    return replica


def _checked_leaves(store: LedgerStore, size: int) -> Frontier:
    roots = {at: Checkpoint.parse(parse_note(note).text) for at, note in store.notes()}
    frontier = Frontier()
    for first in range(0, size, _CHUNK):
        for number, leaf in enumerate(store.leaves(first, first + _CHUNK), start=first):
            # 1
            if number != frontier.size or leaf_hash(leaf.data) != leaf.hash:
                raise _Damage(f"leaf {number} is missing or has another hash")
            frontier.append(leaf.hash)
            # 2
            sealed = roots.pop(frontier.size, None)
            if sealed is not None and (sealed.size, sealed.root) != (frontier.size, frontier.root()):
                raise _Damage(f"the checkpoint of {frontier.size} leaves has another size or root")
            if sealed is None and frontier.size == size:
                raise _Damage(f"there is no checkpoint of all {size} leaves")
    if frontier.size != size or roots:
        raise _Damage(f"there are leaves of {frontier.size}, and checkpoints of {sorted(roots)}")
    return frontier
