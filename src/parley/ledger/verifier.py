"""Verify a copied ledger offline: everything is replayed and every signature checked, nothing is believed.

What must hold, in the order in which it is checked:

1. every line is canonical, and the file has the header, leaves and checkpoints it says it has (`export`);
2. the first leaf is a genesis, it gives the consortium its name in the header, and it is the consortium
   that was asked for, if one was;
3. every block follows the one before it in height and time;
4. every transaction is admissible where it stands, and its sender's key signed it;
5. every checkpoint has the size of the log at the end of a block, and the log's root there;
6. it has the root of the state that the contract gives there;
7. a key that may seal that block, by the state, has sealed it;
8. every cosignature by a member of that state is good;
9. the last checkpoint is behind the last leaf, and a majority has cosigned it, if that was asked for.

Then the file is what the members agreed on, up to `Verified.final`: whoever says otherwise contradicts
their signatures.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from parley.crypto.signatures import Claim, key_id, verify_all
from parley.ledger.block import Leaf
from parley.ledger.checkpoint import Checkpoint
from parley.ledger.electorate import Electorate, holds, origin, sealers
from parley.ledger.encoding import EncodingError
from parley.ledger.export import read_header, read_note
from parley.ledger.merkle import Frontier
from parley.ledger.notes import NoteError, NoteKey, SignedNote, parse_note
from parley.ledger.replica import IllegalBlock, Overlay, Replica
from parley.ledger.transaction import SignedTransaction

CLAIMS: Final = 512
"""Signatures that are handed to a thread together."""
BEHIND: Final = 8
"""Such bundles that may wait for their turn."""
AHEAD: Final = 64
"""Checkpoints that may wait for theirs."""
CHECKS: Final = (
    "every line is canonical and stands where it belongs",
    "the log begins with the genesis of the consortium",
    "every block follows the one before it",
    "every transaction is admissible and signed",
    "every checkpoint has the log's root",
    "every checkpoint has the state's root",
    "every checkpoint is sealed",
    "every member's cosignature is good",
    "the last checkpoint is behind the last leaf, and cosigned as was asked",
)
"""What `verify` checks; check n is ``CHECKS[n - 1]``."""


class Difference(ValueError):
    """The first thing in the file that does not hold.

    Attributes:
        check: the number of the check that failed, from one.
        line: of the file, from one.
        leaf: the number of the leaf or, for a checkpoint, its size; None for the header.
        what: what was expected, and what is there.
    """

    def __init__(self, check: int, line: int, leaf: int | None, what: object) -> None:
        place = f"line {line}" if leaf is None else f"line {line}, leaf {leaf}"
        super().__init__(f"{place}: check {check} failed ({CHECKS[check - 1]}): {what}")
        self.check = check
        self.line = line
        self.leaf = leaf
        self.what = str(what)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a file was found to be.

    Attributes:
        origin: of the ledger.
        leaves: of the log.
        final: leaves that a majority of the members has cosigned for.
        height: of the last block.
        refused: transactions that the contract refused.
        root: of the log.
        state_root: of the state.
        cosigners: who cosigned the last checkpoint.
    """

    origin: str
    leaves: int
    final: int
    height: int
    refused: int
    root: bytes
    state_root: bytes
    cosigners: tuple[str, ...]


def verify(
    lines: Iterable[bytes],
    *,
    consortium: str = "",
    whole: bool = False,
    threads: int = 2,
    progress: Callable[[int], None] = lambda _leaves: None,
) -> Verified:
    """Verify an exported ledger; the first difference ends it.

    Args:
        lines: of the file, with their newlines; an open file is welcome.
        consortium: the origin that is expected; without it the file only proves itself consistent.
        whole: demand that a majority has cosigned the last checkpoint.
        threads: for signatures.
        progress: told the number of leaves after each block.

    Raises:
        Difference: something does not hold.
    """
    numbered = enumerate((line.removesuffix(b"\n") for line in lines), start=1)
    # 1
    number, header = next(numbered, (1, b""))
    try:
        name, leaves = read_header(header)
    except EncodingError as error:
        raise Difference(1, number, None, error) from None
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        replay = _Replay(name, consortium, pool)
        for line, block, opened in _blocks(numbered, leaves):
            replay.execute(line, block, opened)
            progress(replay.replica.size)
        replay.signatures.finish()
        return replay.verified(_judged(replay, pool, numbered), whole=whole)


def _blocks(
    numbered: Iterator[tuple[int, bytes]], leaves: int
) -> Iterator[tuple[int, list[bytes], list[Leaf]]]:
    """The leaves by block: line of its first, their bytes, what those decode to (of the genesis nothing)."""
    line, block, opened = 2, [next(numbered, (2, b""))[1]], list[Leaf]()
    height = 0
    for leaf in range(1, leaves):
        number, data = next(numbered, (leaf + 2, b""))
        try:
            found = Leaf.decoded(data)
        except EncodingError as error:
            raise Difference(1, number, leaf, error) from None
        if found.height != height:
            yield line, block, opened
            line, block, opened = number, [], []
        block.append(data)
        opened.append(found)
        height = found.height
    yield line, block, opened


def _judged(
    replay: "_Replay", pool: ThreadPoolExecutor, numbered: Iterator[tuple[int, bytes]]
) -> "Iterator[_Sealed]":
    """The checkpoints in order, a few of them judged ahead; the file may have any number of lines."""
    running: deque[Future[_Sealed]] = deque()
    for each in numbered:
        running.append(pool.submit(replay.judge, each))
        if len(running) > AHEAD:
            yield running.popleft().result()
    yield from (each.result() for each in running)


def _note(line: int, data: bytes) -> tuple[SignedNote, Checkpoint]:
    try:
        note = parse_note(read_note(data))
        return note, Checkpoint.parse(note.text)
    except (EncodingError, NoteError) as error:
        raise Difference(1, line, None, error) from None


class _Signatures:
    """Signatures on their way through the threads; the first bad one is reported when its turn comes."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._claims: list[tuple[int, Claim]] = []
        self._running: deque[tuple[list[int], Future[list[bool]]]] = deque()
        self.leaf = 0

    def __call__(self, envelope: SignedTransaction, public: bytes) -> bool:
        """Take the signature as good for now, if it is meant to be by this key."""
        if envelope.transaction.key != key_id(public, envelope.alg):
            return False
        self._claims.append((self.leaf, envelope.claim(public)))
        self.leaf += 1
        if len(self._claims) >= CLAIMS:
            self._hand_over()
        return True

    def finish(self) -> None:
        """Wait for all."""
        self._hand_over()
        while self._running:
            self._settle()

    def _hand_over(self) -> None:
        places = [leaf for leaf, _ in self._claims]
        claims = [claim for _, claim in self._claims]
        self._running.append((places, self._pool.submit(verify_all, claims)))
        self._claims = []
        while len(self._running) > BEHIND:
            self._settle()

    def _settle(self) -> None:
        places, future = self._running.popleft()
        for leaf, good in zip(places, future.result(), strict=True):
            if not good:
                raise Difference(4, leaf + 2, leaf, "the signature is not that of the sender's key")


@dataclass(frozen=True, slots=True)
class _Sealed:
    """A checkpoint that holds: where, and who of the members of its state has cosigned it."""

    line: int
    size: int
    cosigners: tuple[str, ...]
    final: bool


@dataclass(frozen=True, slots=True)
class _End:
    """The end of a block: what its checkpoint must say, and who signs it."""

    root: bytes
    state_root: bytes
    sealers: tuple[NoteKey, ...]
    voters: Electorate


class _Replay:
    """The ledger so far."""

    def __init__(self, name: str, consortium: str, pool: ThreadPoolExecutor) -> None:
        self.signatures = _Signatures(pool)
        self.replica = Replica({}, Frontier(), verify=self.signatures)
        self._name = name
        self._wanted = consortium or name
        self._refused = 0
        self._ends: dict[int, _End] = {}

    def execute(self, line: int, leaves: list[bytes], opened: list[Leaf]) -> None:
        """Checks 2 to 4 of one block."""
        self.signatures.leaf = first = self.replica.size
        founding = self.replica.height < 0
        if not founding:
            self._check_order(line, opened[0])
        try:
            replica = self.replica
            executed = replica.execute(leaves) if founding else replica.execute_read(leaves, opened)
        except IllegalBlock as error:
            bad = self.signatures.leaf
            self.signatures.finish()  # an earlier leaf's signature is an earlier difference
            raise Difference(2 if founding else 4, bad + 2, bad, error) from None
        after = Overlay(self.replica.state, executed.writes)
        for expected in (self._name, self._wanted) if founding else ():
            if origin(after) != expected:
                raise Difference(2, line, first, f"the genesis is that of {origin(after)}, not {expected}")
        keys = sealers(self.replica.state, after, executed.height)
        self._ends[executed.size] = _End(executed.root, executed.state_root, keys, Electorate.of(after))
        self._refused += sum(not receipt.accepted for receipt in executed.receipts)
        self.replica.adopt(executed)

    def _check_order(self, line: int, leaf: Leaf) -> None:
        # 3
        height, time = self.replica.height + 1, self.replica.time
        if leaf.height != height:
            raise Difference(3, line, line - 2, f"height {leaf.height}; expected {height}")
        if leaf.time < time:
            raise Difference(3, line, line - 2, f"time {leaf.time}; expected {time} or later")

    def judge(self, numbered: tuple[int, bytes]) -> _Sealed:
        """Checks 5 to 8 of one checkpoint."""
        line, (note, checkpoint) = numbered[0], _note(*numbered)
        size, end = checkpoint.size, self._ends.get(checkpoint.size)
        # 5
        if end is None or checkpoint.origin != self._name:
            raise Difference(5, line, size, "no block of this log ends there")
        if checkpoint.root != end.root:
            raise Difference(5, line, size, f"root {checkpoint.root.hex()}; replayed {end.root.hex()}")
        # 6
        if note.text != Checkpoint.seal(self._name, size, end.root, end.state_root).text:
            raise Difference(6, line, size, f"the state replayed has root {end.state_root.hex()}")
        # 7
        if not any(holds(key, note.text, one) for key in end.sealers for one in note.signatures):
            raise Difference(7, line, size, "it is not signed by a key that seals this block")
        # 8
        known = {(key.name, key.key_hash) for key in end.voters.keys}
        claimed = {one.name for one in note.signatures if (one.name, one.key_hash) in known}
        good = tuple(one.name for one in end.voters.good(note.text, note.signatures))
        if claimed != {*good}:
            raise Difference(8, line, size, f"cosigned badly by {', '.join(sorted(claimed - {*good}))}")
        return _Sealed(line, size, good, len(good) >= end.voters.quorum)

    def verified(self, checkpoints: Iterable[_Sealed], *, whole: bool) -> Verified:
        """Check 9, and what was found."""
        replica, final, last = self.replica, 0, _Sealed(0, 0, (), final=False)
        for sealed in checkpoints:
            if sealed.size <= last.size:
                raise Difference(1, sealed.line, sealed.size, "checkpoints must ascend by size, each once")
            last, final = sealed, sealed.size if sealed.final else final
        # 9
        if last.size != replica.size or (whole and final != replica.size):
            raise Difference(
                9, last.line, last.size, f"{replica.size} leaves; sealed {last.size}, by a majority {final}"
            )
        return Verified(
            self._name,
            replica.size,
            final,
            replica.height,
            self._refused,
            replica.frontier.root(),
            replica.state.root,
            last.cosigners,
        )
