"""What a member can show others of its ledger: where its copy stands, receipts, and the whole as a file."""

from collections.abc import Iterable
from dataclasses import dataclass

from parley.core.errors import UsageError
from parley.ledger import electorate
from parley.ledger.block import Leaf
from parley.ledger.contract.consortium import CONSORTIUM, ENGINE, Consortium, Engine
from parley.ledger.contract.members import Key, key_path
from parley.ledger.electorate import Electorate
from parley.ledger.merkle import Frontier, inclusion_proof
from parley.ledger.notes import parse_note
from parley.ledger.proof import Receipt, Trust
from parley.party.chronicle import Chronicle


@dataclass(frozen=True)
class Standing:
    """Where the copy stands.

    Attributes:
        consortium: id.
        name: of the consortium.
        size: leaves held.
        final: leaves that a majority has signed for.
        sequencer: who orders; empty where another engine does.
        height: of the last block.
        moves_at: the height from which CometBFT orders, if the members have decided that; else 0.
        signed: who has signed for all that is held.
        unsigned: which active members have not.
    """

    consortium: str
    name: str
    size: int
    final: int
    sequencer: str
    signed: tuple[str, ...]
    unsigned: tuple[str, ...]
    height: int
    moves_at: int


def standing(ledger: Chronicle) -> Standing:
    """Where this copy stands."""
    consortium = ledger.draft.known(Consortium, CONSORTIUM)
    engine = ledger.draft.known(Engine, ENGINE)
    voters = Electorate.of(ledger.view)
    note = parse_note(ledger.note(ledger.size))
    signed = tuple(sorted(line.name for line in voters.good(note.text, note.signatures)))
    return Standing(
        consortium=consortium.id,
        name=consortium.name,
        size=ledger.size,
        final=ledger.final,
        sequencer=ledger.sequencer,
        signed=signed,
        unsigned=tuple(key.name for key in voters.keys if key.name not in signed),
        height=ledger.height,
        moves_at=engine.height if engine.kind == "cometbft" else 0,
    )


def trust(ledger: Chronicle) -> tuple[Trust, int]:
    """The keys by which receipts of this ledger are checked, and how many members must have signed."""
    voters = Electorate.of(ledger.view)
    identifier = ledger.draft.known(Consortium, CONSORTIUM).id
    logs = tuple(electorate.log_keys(ledger.view))
    return Trust(identifier, electorate.origin(ledger.view), logs, voters.keys), voters.quorum


def prove(ledger: Chronicle, number: int) -> Receipt:
    """A receipt of one final record, which proves it to somebody who has nothing of the ledger.

    Raises:
        UsageError: there is no such record, it is the foundation, or it is not final yet.
    """
    entry = ledger.entry(number)
    if not entry.final or number == 0:
        raise UsageError(
            "record-not-provable",
            f"record {number} is the foundation" if number == 0 else f"record {number} is not final yet",
            remedy="take a record from 1 on that `parley ledger show` does not mark as pending",
        )
    size, leaf = ledger.final, ledger.leaf(number)
    key = ledger.draft.known(Key, key_path(Leaf.decoded(leaf).opened().transaction.key))
    frontier, nodes = Frontier(), dict[tuple[int, int], bytes]()
    for digest in ledger.hashes(size):
        nodes |= {(node.level, node.position): node.digest for node in frontier.append(digest)}
    path = inclusion_proof(number, size, lambda level, position: nodes[level, position])
    return Receipt(leaf, bytes.fromhex(key.public), number, path, ledger.note(size))


class Snapshot:
    """A chronicle as something that `parley.ledger.export` takes.

    Attributes:
        origin: of its checkpoints.
        size: leaves.
    """

    def __init__(self, ledger: Chronicle) -> None:
        self._ledger = ledger
        self.origin = electorate.origin(ledger.view)
        self.size = ledger.size

    def leaf_data(self) -> Iterable[bytes]:
        """The leaves in order."""
        return self._ledger.leaves()

    def notes(self) -> Iterable[bytes]:
        """The signed notes, ascending by size."""
        return self._ledger.notes()
