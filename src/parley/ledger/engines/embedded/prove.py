"""What a member's log shows to others: a receipt for one transaction, and the whole in one file."""

from collections.abc import Iterator
from typing import Final

from parley.core.errors import UsageError
from parley.ledger import electorate
from parley.ledger.block import Leaf
from parley.ledger.contract.members import Key, key_path
from parley.ledger.contract.state import Draft
from parley.ledger.engines.engine import Log
from parley.ledger.merkle import Frontier, inclusion_proof
from parley.ledger.proof import Receipt, Trust

_CHUNK: Final = 1024


def prove(log: Log, digest: bytes) -> Receipt:
    """The receipt of the transaction with this digest, under the last final checkpoint.

    Raises:
        UsageError: ``record-unknown``: it is not in the log; ``record-not-final``.
    """
    number = log.number(digest)
    if number is None:
        raise UsageError(
            "record-unknown",
            f"no transaction {digest.hex()[:16]} is in the ledger",
            remedy="look it up in `parley ledger show`",
        )
    size = log.final_size
    note = log.note(size)
    if number >= size or note is None:
        raise UsageError(
            "record-not-final",
            f"transaction {digest.hex()[:16]} is leaf {number}; a majority has signed for {size} leaves",
            remedy="try again when more members have signed, see `parley ledger status`",
        )
    nodes: dict[tuple[int, int], bytes] = {}
    frontier = Frontier()
    for one in log.store.hashes(size):
        nodes |= {(node.level, node.position): node.digest for node in frontier.append(one)}
    leaf = log.store.leaves(number, number + 1)[0].data
    identifier = Leaf.decoded(leaf).opened().transaction.key
    public = Draft(log.replica.state).known(Key, key_path(identifier)).public
    path = inclusion_proof(number, size, lambda level, position: nodes[level, position])
    return Receipt(leaf, bytes.fromhex(public), number, path, note.encoded())


def trust(log: Log) -> Trust:
    """What somebody has to know to check this ledger's receipts, as of now."""
    state = log.replica.state
    name = electorate.origin(state)
    return Trust(
        consortium=name.removeprefix("parley/"),
        origin=name,
        log=tuple(electorate.log_keys(state)),
        cosigners=electorate.Electorate.of(state).keys,
    )


class Snapshot:
    """A member's log as it is now, for `export`; the log may grow meanwhile.

    Attributes:
        origin: see `parley.ledger.export.Exported`.
        size: see there.
    """

    def __init__(self, log: Log) -> None:
        if not log.size:
            raise UsageError("ledger-empty", "there is no ledger yet", remedy="wait for the first blocks")
        self.origin = electorate.origin(log.replica.state)
        self.size = log.size
        self._store = log.store

    def leaf_data(self) -> Iterator[bytes]:
        """The leaves in order."""
        for first in range(0, self.size, _CHUNK):
            for leaf in self._store.leaves(first, min(first + _CHUNK, self.size)):
                yield leaf.data

    def notes(self) -> Iterator[bytes]:
        """The signed notes, ascending by size."""
        seal = f"\n\u2014 {self.origin} ".encode()
        for size, note in self._store.notes():
            # a member that must not seal a checkpoint has it without, until it has another's seal
            if size <= self.size and seal in note:
                yield note
