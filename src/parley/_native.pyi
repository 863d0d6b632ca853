"""The Rust kernels: ristretto255 batches, additive ElGamal, histograms of ciphertexts, walks through forests.

Points travel as their 32-byte canonical encodings (RFC 9496). Arrays are C-contiguous. Every batch
function releases the interpreter lock and runs on `threads` threads (1 to 1024). A wrong type or dtype
raises `TypeError`, a wrong shape, layout, length or range `ValueError`; both name the argument, what was
expected and what came. Every kernel path gives the same bytes for the same input.
"""

from collections.abc import Sequence
from typing import Literal, NoReturn, TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

Kernels: TypeAlias = Literal["ifma", "avx2", "portable"]

class DecodeError(ValueError):
    """An element is not a canonical ristretto255 encoding."""

    index: int
    """Which element, counted over all points of the argument in row-major order."""

def kernel_path() -> Kernels:
    """Name the kernels in use: what `use_kernels` or `PARLEY_KERNELS` chose, else the fastest here."""

def available_kernels() -> list[Kernels]:
    """Name the kernels this processor can run, fastest first."""

def use_kernels(name: str) -> None:
    """Choose the kernels for the whole process.

    Raises `ValueError` if the name is unknown or the processor lacks the instructions.
    """

@final
class SecretScalar:
    """A secret scalar. Zeroised when freed; cannot be read, printed or pickled."""

    @staticmethod
    def random() -> SecretScalar:
        """Draw a non-zero scalar from the operating system's randomness."""
    @staticmethod
    def from_seed(seed: bytes) -> SecretScalar:
        """Derive the scalar from 32 secret bytes (domain-tagged SHA-512, reduced)."""
    def public(self) -> bytes:
        """Encode the scalar times the generator, 32 bytes."""
    def __reduce__(self) -> NoReturn: ...

def hash_to_group(data: Buffer, spans: NDArray[np.uint64], dst: bytes, threads: int) -> NDArray[np.uint8]:
    """Hash identifiers to the group: ristretto255_XMD:SHA-512_R255MAP_RO_ (RFC 9380, appendix B).

    Id i is `data[spans[i, 0]:spans[i, 1]]` (`spans` uint64[n, 2]);
    `dst` is the domain separation tag, 1 to 255 bytes. Returns uint8[n, 32].
    """

def multiply(points: NDArray[np.uint8], secret: SecretScalar, threads: int) -> NDArray[np.uint8]:
    """Multiply every point of uint8[n, 32] by `secret`. Returns uint8[n, 32].

    Raises `DecodeError` if an element is not canonical.
    """

@final
class KeyTaker:
    """572 secret bits, and offers from which the other party makes two keys for each.

    Zeroised when freed; cannot be read, printed or pickled.
    """

    @staticmethod
    def from_seed(seed: bytes, dst: bytes) -> KeyTaker:
        """Derive the bits and what opens the keys from 32 secret bytes; `dst` as for `hash_to_group`."""
    def offers(self) -> NDArray[np.uint8]:
        """The points r_0 and r_1 of every bit, uint8[572, 2, 32]."""
    def __reduce__(self) -> NoReturn: ...

@final
class KeyGiver:
    """Both keys for each of the other party's bits. Zeroised when freed; cannot be read, printed or pickled."""

    @staticmethod
    def answer(offers: NDArray[np.uint8], secret: SecretScalar, dst: bytes, tag: bytes) -> KeyGiver:
        """Make the keys under 32 bytes of `tag`; `dst` as it was for the offers, uint8[572, 2, 32].

        Raises `DecodeError` if an element is not canonical.
        """
    @property
    def point(self) -> bytes:
        """What opens the taker's keys: the secret times the generator, 32 bytes."""
    def __reduce__(self) -> NoReturn: ...

def rows_of_ids(count: int) -> int:
    """How many rows a store of `count` identifiers makes, and the 64 that mask an answer."""

@final
class AskerRows:
    """A store of identifiers, and the rows that hide it. Zeroised when freed; cannot be read or pickled.

    Its calls come in this order: `masked` for all rows, `answer` once, `digests`. Another order raises `ValueError`.
    """

    @staticmethod
    def build(
        data: Buffer,
        spans: NDArray[np.uint64],
        pair: bytes,
        keys: KeyGiver,
        seed: bytes,
        threads: int,
    ) -> AskerRows | None:
        """Store identifiers as `hash_to_group` takes them, hashed under 32 bytes of `pair`.

        The 32 secret bytes of `seed` give the values of the last 64 rows. Returns None if there is no such store,
        once in 2^41 values of `pair`. Raises `MemoryError` if there is no room for the rows.
        """
    def masked(self, first: int, count: int, threads: int) -> NDArray[np.uint8]:
        """Make the next rows for the other party: uint8[count, 72]."""
    def answer(self, challenge: bytes, threads: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Add up the rows, uint8[64, 72], and the values, uint8[64, 16], that 32 bytes pick."""
    def digests(self, data: Buffer, spans: NDArray[np.uint64], threads: int) -> NDArray[np.uint8]:
        """Compute the function of identifiers in the store: uint8[n, 16]."""
    def __reduce__(self) -> NoReturn: ...

@final
class EvaluatorRows:
    """A secret word, and the rows that come of the other party's. Zeroised when freed; cannot be read or pickled.

    Its calls come in this order: `take` for all rows, `agrees`, `digests`. Another order raises `ValueError`.
    """

    @staticmethod
    def expect(keys: KeyTaker, point: bytes, tag: bytes, pair: bytes, count: int) -> EvaluatorRows:
        """Open the keys and make room for the rows of `count` identifiers.

        Raises `DecodeError` if the point is none, `ValueError` if it is the neutral one, `MemoryError` if there
        is no room.
        """
    def take(self, first: int, masked: NDArray[np.uint8], threads: int) -> None:
        """Take the next rows, uint8[n, 72]."""
    def agrees(
        self, challenge: bytes, rows: NDArray[np.uint8], values: NDArray[np.uint8], threads: int
    ) -> bool:
        """Whether uint8[64, 72] and uint8[64, 16] are what `AskerRows.answer` gives for the rows taken."""
    def digests(self, data: Buffer, spans: NDArray[np.uint64], threads: int) -> NDArray[np.uint8]:
        """Compute the function of any identifiers: uint8[n, 16]."""
    def __reduce__(self) -> NoReturn: ...

@final
class SecretKey:
    """The secrets s_1..s_k of k-message ciphertexts. Zeroised when freed; cannot be read or pickled."""

    @staticmethod
    def generate(k: int) -> SecretKey:
        """Draw k secrets (1 to 64) from the operating system's randomness."""
    @staticmethod
    def from_seed(k: int, seed: bytes) -> SecretKey:
        """Derive k secrets (1 to 64) from 32 secret bytes."""
    @property
    def k(self) -> int:
        """The number of messages in a ciphertext."""
    def public(self) -> PublicKey:
        """Return the public points P_j = s_j·G."""
    def encrypt(
        self, messages: NDArray[np.int32], seed: bytes, first: int, threads: int
    ) -> NDArray[np.uint8]:
        """Encrypt int32[n, k] into uint8[n, k + 1, 32].

        Row i becomes (r·G, m_1·G + r·P_1, ..., m_k·G + r·P_k).
        r depends on `seed` (32 secret bytes, never used for other messages) and `first + i` only, so
        encrypting in blocks gives what encrypting at once gives.
        """
    def masks(self, rows: int, seed: bytes, first: int, threads: int) -> Masks:
        """Compute what `encrypt` of so many rows with the same seed and `first` needs besides messages.

        Done with the lowest priority where the system allows that for single threads (Linux).
        """
    def decrypt(
        self, ciphertexts: NDArray[np.uint8], bounds: NDArray[np.int64], threads: int
    ) -> NDArray[np.int64]:
        """Decrypt uint8[n, k + 1, 32] into int64[n, k], knowing that each |message| is at most its bound.

        `bounds` is int64[n, k] with values 0 to 2^40; the time grows with |message| / 2^17. Raises
        `ValueError` naming the row if no message within the bound fits, `DecodeError` if a point is not
        canonical.
        """
    def __reduce__(self) -> NoReturn: ...

@final
class Masks:
    """Encryptions of zero that wait for their messages. Zeroised when used or freed; cannot be pickled."""

    def encrypt(self, messages: NDArray[np.int32], bound: int, threads: int) -> NDArray[np.uint8]:
        """Encrypt int32[n, k] into uint8[n, k + 1, 32]: the bytes that `SecretKey.encrypt` gives.

        The time depends on `bound`, the largest absolute value a message may have. Raises `ValueError`
        if a message is larger or these masks were used before, since none may serve two messages.
        """
    def __len__(self) -> int: ...
    def __reduce__(self) -> NoReturn: ...

@final
class PublicKey:
    """The public points P_1..P_k, with their precomputed tables."""

    @property
    def k(self) -> int:
        """The number of messages in a ciphertext."""
    def encode(self) -> bytes:
        """Return the 32·k bytes of the points."""
    @staticmethod
    def decode(data: bytes) -> PublicKey:
        """Read and check 32·k bytes.

        Raises `DecodeError` if a point is not canonical, `ValueError` if one is the identity or the
        length does not fit.
        """

@final
class Ciphertexts:
    """Decoded ciphertext rows of k + 1 points, kept in memory for many histograms."""

    def __init__(self, k: int, capacity: int) -> None:
        """Make room for `capacity` rows (more may be appended)."""
    @property
    def k(self) -> int:
        """The number of messages in a ciphertext."""
    def append(self, block: NDArray[np.uint8], threads: int) -> None:
        """Decode uint8[b, k + 1, 32] and keep the rows; after an error nothing of the block is kept.

        Raises `DecodeError` (index within the block) if a point is not canonical.
        """
    def __len__(self) -> int: ...

def encrypted_histogram(
    rows: Ciphertexts,
    bins: NDArray[np.uint8],
    bin_counts: NDArray[np.uint32],
    subset: NDArray[np.uint32],
    threads: int,
) -> EncryptedSums:
    """Add up, for every column c and bin b, the ciphertexts i in `subset` with `bins[c, i] == b`.

    `bins` is uint8[columns, n_rows] (n_rows may exceed the rows decoded so far), `bin_counts`
    uint32[columns] with values 1 to 256, `subset` uint32[s] positions in both `bins` and `rows`. The result
    is laid out column after column and has sum(bin_counts) elements. Its time depends on the caller's bins
    and subset, which are the caller's own, and on public points.
    """

@final
class EncryptedSums:
    """Sums of ciphertexts, one element of k + 1 points per bin."""

    @property
    def k(self) -> int:
        """The number of messages in a ciphertext."""
    def __len__(self) -> int: ...
    def merge(self, groups: NDArray[np.uint32], group_count: int, threads: int) -> EncryptedSums:
        """Add element i to element `groups[i]` of a new object of `group_count` elements.

        `groups` is uint32[len(self)]; 0xFFFFFFFF leaves an element out. A group without elements is an
        encryption of zero without randomness.
        """
    def rerandomised(self, public: PublicKey, seed: bytes, first: int, threads: int) -> NDArray[np.uint8]:
        """Return uint8[n, k + 1, 32]: each element plus (r·G, r·P_1, ..., r·P_k) with an r of its own.

        r depends on `seed` (32 secret bytes, never used again) and `first + i` only.
        """
    def encoded(self, threads: int) -> NDArray[np.uint8]:
        """Return uint8[n, k + 1, 32] as the sums are. They reveal which rows were added: not for sending."""

def plain_histogram(
    bins: NDArray[np.uint8],
    bin_counts: NDArray[np.uint32],
    messages: NDArray[np.int32],
    subset: NDArray[np.uint32],
    threads: int,
) -> NDArray[np.int64]:
    """Add up plaintext messages per column and bin, as `encrypted_histogram` does with ciphertexts.

    `messages` is int32[n_rows, k]. Returns int64[sum(bin_counts), k + 1]; the last column
    is the number of rows.
    """

def row_directions(
    codes: NDArray[np.uint8],
    rows: NDArray[np.int64],
    columns: NDArray[np.uint32],
    left: NDArray[np.uint8],
    threads: int,
) -> NDArray[np.uint8]:
    """Pack which way rows go at splits, row after row.

    `codes` is uint8[columns, n_rows], `rows` int64[m] positions in it. Split s tests column `columns[s]`
    (uint32[splits]), and code c goes left if bit c % 8 of `left[s, c // 8]` is set (uint8[splits, 32]). Returns
    uint8[m, ceil(splits / 8)]: bit s % 8 of byte s // 8 is split s, and 1 is left. Fewer than 512 rows are
    worked on in the calling thread.
    """

@final
class Forest:
    """The trees of a model; cannot be changed or pickled."""

    def __init__(
        self,
        outputs: int,
        splits: NDArray[np.uint32],
        trees: NDArray[np.uint32],
        nodes: NDArray[np.uint32],
        values: NDArray[np.float64],
    ) -> None:
        """Check that the parts fit together; raises `ValueError` naming the tree and the node that do not.

        `splits` is uint32[owners]: how many each has. `trees` is uint32[trees, 2]: output and number of nodes.
        `nodes` is uint32[n, 3], tree after tree: owner, split of that owner, and left child, numbered within
        the tree and after its parent; the right child is the next. Left child 0 means a leaf, which adds its
        value of `values`, float64[n].
        """
    def __len__(self) -> int: ...

def forest_margins(
    forest: Forest, left: Sequence[NDArray[np.uint8]], initial: NDArray[np.float64], threads: int
) -> NDArray[np.float64]:
    """Walk rows through every tree and add up the leaves' values in the order of the trees.

    `left` has for each owner uint8[m, ceil(splits / 8)] as `row_directions` packs them, `initial` float64[outputs]
    what the margins begin with. Returns float64[outputs, m]. Up to 1024 rows are worked on in the calling thread.
    """

def prediction_leaves(
    data: Buffer,
    spans: NDArray[np.uint64],
    basis: NDArray[np.uint8],
    margins: NDArray[np.float64],
    key: bytes,
    first: int,
    threads: int,
) -> NDArray[np.uint8]:
    """Hash answered predictions to leaves, uint8[n, 32], as `parley.ledger.predictions.prediction_leaf` defines them.

    Identifiers are as for `hash_to_group`, `basis` is uint8[n], `margins` float64[outputs, n]. The salt of answer i
    follows from 32 secret bytes of `key` and `first + i`.
    """

def merkle_root(leaves: NDArray[np.uint8], threads: int) -> bytes:
    """Compute the root of the tree of RFC 6962 over uint8[n, 32] hashes of leaves: 32 bytes."""

def ed25519_verify(claims: Sequence[tuple[bytes, bytes, bytes, bytes]], threads: int) -> list[bool]:
    """Whether each signature is good; a claim is public key, frame, message, signature.

    What was signed is frame ‖ message. The verdict on each is that of RFC 8032, section 5.1.7, without the cofactor: S
    below the order, the encoding of R compared as bytes; and the key must be the canonical encoding of a point
    that is not of small order. A key or signature of a wrong length does not verify.
    """

def plain_json(text: bytes) -> bool:
    """Whether the text alone shows that all it holds, if it is JSON, is inside the subset of `parley.ledger.encoding`.

    Then it has no character but those of printable ASCII, no reverse solidus, no number but integers of at most 15
    digits, and no containers more than 16 deep. Otherwise it may still be inside.
    """

@final
class SparseNodes:
    """Nodes of trees of `parley.ledger.sparse`, by hash.

    Reading a node that is not there raises `KeyError` with its hash, in `update` and `discard` too, which then have
    changed nothing. They release the interpreter lock.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def __getitem__(self, digest: bytes) -> bytes:
        """Read a stored node: both halves; or of a leaf key, hash of its value, and its mark."""
    def update(self, root: bytes, changes: dict[bytes, bytes | None]) -> bytes:
        """Change the tree `root`; the new root. Keys have 32 bytes; a value of None removes its key."""
    def discard(self, root: bytes, kept: bytes) -> int:
        """Delete the nodes of the tree `root` that the tree `kept` has not; how many."""
