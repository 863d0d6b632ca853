"""The kernels: every path gives what is needed, the same bytes, and errors that say what is wrong."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from parley import _native as native

SEED = b"s" * 32
IDENTITY = bytes(32)
GENERATOR = bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
PATHS = native.available_kernels()


@pytest.fixture(autouse=True)
def _default_kernels():
    before = native.kernel_path()
    yield
    native.use_kernels(before)


@pytest.fixture(params=PATHS)
def path(request):
    native.use_kernels(request.param)
    return request.param


def identifiers(count):
    ids = [f"person-{i}".encode() * (i % 5) for i in range(count)]
    offsets = np.cumsum([0, *map(len, ids)]).astype(np.uint64)
    return b"".join(ids), np.stack((offsets[:-1], offsets[1:]), axis=1)


def encrypted_rows(k, n, seed=0):
    rng = np.random.default_rng(seed)
    messages = rng.integers(-127, 128, (n, k), dtype=np.int32)
    key = native.SecretKey.from_seed(k, SEED)
    return key, messages, key.encrypt(messages, SEED, 0, 1)


def doubled(points):
    """Twice every point: a sum of ciphertexts that are two equal points."""
    n = len(points)
    kept = native.Ciphertexts(1, 2 * n)
    kept.append(np.repeat(points, 4, axis=0).reshape(2 * n, 2, 32), 1)
    bins = np.repeat(np.arange(n, dtype=np.uint8), 2).reshape(1, 2 * n)
    counts, subset = np.array([n], np.uint32), np.arange(2 * n, dtype=np.uint32)
    return np.ascontiguousarray(native.encrypted_histogram(kept, bins, counts, subset, 1).encoded(1)[:, 0])


def on_every_path(compute):
    """Run `compute` on every path; return the results."""
    results = []
    for name in PATHS:
        native.use_kernels(name)
        results.append(compute())
    return results


def test_kernels_are_chosen_by_name_and_named(path):
    assert native.kernel_path() == path


def test_unknown_kernels_are_refused():
    with pytest.raises(ValueError, match='expected ifma, avx2 or portable, got "sse"'):
        native.use_kernels("sse")


def test_kernels_the_processor_lacks_are_refused():
    missing = {"ifma", "avx2", "portable"} - set(PATHS)
    for name in missing:
        with pytest.raises(ValueError, match="cannot run"):
            native.use_kernels(name)


@pytest.mark.parametrize(
    ("name", "expected"), [("portable", "portable"), ("fast", "PARLEY_KERNELS: expected")]
)
def test_environment_chooses_kernels(name, expected):
    program = "from parley import _native as n; print(n.kernel_path())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PARLEY_KERNELS": name},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in done.stdout + done.stderr


class Pair:
    """Both sides of the oblivious function, as far as the first rows."""

    def __init__(self, count, *, pair=b"p" * 32, seed=SEED):
        self.data, self.spans = distinct(count)
        self.rows = native.rows_of_ids(count)
        self.taker = native.KeyTaker.from_seed(seed, b"dst")
        secret = native.SecretScalar.from_seed(seed)
        giver = native.KeyGiver.answer(self.taker.offers(), secret, b"dst", SEED)
        self.asker = native.AskerRows.build(self.data, self.spans, pair, giver, seed, 2)
        self.evaluator = native.EvaluatorRows.expect(self.taker, giver.point, SEED, pair, count)

    def exchange(self, *steps, spoil=lambda rows: rows):
        first = 0
        for count in steps or (self.rows,):
            self.evaluator.take(first, spoil(self.asker.masked(first, count, 2)), 2)
            first += count
        return self


def distinct(count):
    ids = [f"person-{i}".encode() for i in range(count)]
    offsets = np.cumsum([0, *map(len, ids)]).astype(np.uint64)
    return b"".join(ids), np.stack((offsets[:-1], offsets[1:]), axis=1)


class TestGroup:
    def test_domain_and_identifier_both_matter(self):
        data, spans = identifiers(4)
        one = native.hash_to_group(data, spans, b"one", 1)
        two = native.hash_to_group(data, spans, b"two", 1)
        rows = {bytes(row) for row in np.concatenate([one, two])}
        assert len(rows) == 8

    @pytest.mark.usefixtures("path")
    def test_two_multiples_of_two_points_make_four_of_each(self):
        points = native.hash_to_group(*identifiers(10), b"dst", 1)
        secret, other = native.SecretScalar.random(), native.SecretScalar.random()
        one = native.multiply(native.multiply(points, secret, 1), other, 2)
        assert (one == native.multiply(native.multiply(points, other, 2), secret, 1)).all()
        assert (
            native.multiply(doubled(points), secret, 1) == doubled(native.multiply(points, secret, 1))
        ).all()

    def test_paths_agree(self):
        data, spans = identifiers(77)
        secret = native.SecretScalar.random()

        def products():
            return native.multiply(native.hash_to_group(data, spans, b"dst", 2), secret, 2).tobytes()

        first, *others = on_every_path(products)
        assert all(other == first for other in others)

    def test_any_buffer_is_read(self):
        data, spans = identifiers(5)
        wanted = native.hash_to_group(data, spans, b"dst", 1)
        for same in (bytearray(data), memoryview(data), np.frombuffer(data, np.uint8)):
            assert (native.hash_to_group(same, spans, b"dst", 1) == wanted).all()

    @pytest.mark.usefixtures("path")
    def test_nothing_gives_nothing(self):
        secret = native.SecretScalar.random()
        assert native.hash_to_group(b"", np.zeros((0, 2), np.uint64), b"dst", 1).shape == (0, 32)
        assert native.multiply(np.zeros((0, 32), np.uint8), secret, 1).shape == (0, 32)

    @pytest.mark.parametrize("span", [(3, 2), (0, 7), (2**63, 2**63)])
    def test_spans_that_do_not_fit_are_refused(self, span):
        reason = f"at most 6 .*, got {span[0]} and {span[1]} at position 1"
        with pytest.raises(ValueError, match=reason):
            native.hash_to_group(b"abcdef", np.array([(0, 6), span], np.uint64), b"dst", 1)

    @pytest.mark.parametrize("length", [0, 256])
    def test_domain_tag_has_1_to_255_bytes(self, length):
        with pytest.raises(ValueError, match=f"dst: expected 1..=255 bytes, got {length}"):
            native.hash_to_group(b"", np.zeros((0, 2), np.uint64), b"d" * length, 1)

    @pytest.mark.usefixtures("path")
    def test_bad_encoding_is_named(self):
        points = np.tile(np.frombuffer(GENERATOR, np.uint8), (30, 1))
        points[17] = 255
        text = "element 17 is not a canonical ristretto255 encoding"
        with pytest.raises(native.DecodeError, match=text) as caught:
            native.multiply(points, native.SecretScalar.random(), 2)
        assert caught.value.index == 17
        assert isinstance(caught.value, ValueError)


class TestAlignment:
    @pytest.mark.parametrize("count", [1, 2, 3, 10, 1000, 5000])
    def test_both_sides_have_the_same_digests_of_stored_ids(self, count):
        pair = Pair(count).exchange()
        digests = pair.asker.digests(pair.data, pair.spans, 1)
        assert digests.shape == (count, 16)
        assert (digests == pair.evaluator.digests(pair.data, pair.spans, 2)).all()
        assert len({bytes(digest) for digest in digests}) == count

    @pytest.mark.usefixtures("path")
    def test_the_asker_does_not_have_the_digest_of_another_id(self):
        pair = Pair(100).exchange()
        data, spans = distinct(500)
        same = (pair.asker.digests(data, spans, 1) == pair.evaluator.digests(data, spans, 1)).all(axis=1)
        assert same[:100].all()
        assert not same[100:].any()

    def test_blocks_of_rows_give_what_one_gives(self):
        whole, parts = Pair(300), Pair(300)
        rows = whole.asker.masked(0, whole.rows, 1)
        steps = (1, 63, 64, 100, whole.rows - 228)
        first = 0
        for step in steps:
            assert (parts.asker.masked(first, step, 2) == rows[first : first + step]).all()
            first += step
        pair = Pair(300).exchange(*steps)
        assert pair.evaluator.agrees(SEED, *pair.asker.answer(SEED, 1), 2)

    def test_paths_agree(self):
        first, *others = on_every_path(lambda: Pair(20).asker.masked(0, 100, 1).tobytes())
        assert all(other == first for other in others)

    def test_rows_of_another_pair_share_nothing(self):
        one = Pair(50).exchange()
        other = Pair(50, pair=b"q" * 32).exchange()
        digests = [each.asker.digests(one.data, one.spans, 1) for each in (one, other)]
        assert not {bytes(row) for row in digests[0]} & {bytes(row) for row in digests[1]}
        assert Pair(50, seed=b"o" * 32).taker.offers().tobytes() != one.taker.offers().tobytes()

    def test_rows_that_are_words_of_the_code_agree(self):
        pair = Pair(200).exchange()
        rows, values = pair.asker.answer(SEED, 1)
        assert rows.shape == (64, 72)
        assert values.shape == (64, 16)
        assert pair.evaluator.agrees(SEED, rows, values, 1)
        assert not pair.evaluator.agrees(b"t" * 32, rows, values, 1)

    @pytest.mark.parametrize(("place", "bit"), [(0, 1), (71, 1), (71, 128), (4000, 4)])
    def test_wrong_sums_do_not_agree(self, place, bit):
        pair = Pair(200).exchange()
        rows, values = pair.asker.answer(SEED, 1)
        rows.reshape(-1)[place] ^= bit
        assert not pair.evaluator.agrees(SEED, rows, values, 1)

    @pytest.mark.parametrize(("place", "bit"), [(0, 1), (15, 64), (15, 128), (1023, 32)])
    def test_wrong_sums_of_values_do_not_agree(self, place, bit):
        """Not even in the two bits that stand for nothing."""
        pair = Pair(200).exchange()
        rows, values = pair.asker.answer(SEED, 1)
        values.reshape(-1)[place] ^= bit
        assert not pair.evaluator.agrees(SEED, rows, values, 1)

    @pytest.mark.parametrize("count", [1, 300])
    def test_a_row_that_is_no_word_is_noticed(self, count):
        """One bit in every column of one row: half of them fall where the secret word has a one."""

        def spoil(rows):
            rows[3] ^= 255
            return rows

        pair = Pair(count).exchange(spoil=spoil)
        assert not pair.evaluator.agrees(SEED, *pair.asker.answer(SEED, 1), 1)

    def test_one_bit_of_one_row_is_noticed_where_the_secret_has_a_one(self):
        """And only there: whoever dares learns that bit, at the price of the run in one case of two."""

        def noticed(column, seed):
            def spoil(rows):
                rows[0, column // 8] ^= 1 << column % 8
                return rows

            pair = Pair(1, seed=seed).exchange(spoil=spoil)
            return not pair.evaluator.agrees(SEED, *pair.asker.answer(SEED, 1), 1)

        seen = [noticed(column, bytes([column]) * 32) for column in range(0, 160, 4)]
        assert 5 < sum(seen) < 35

    def test_rows_come_in_order_and_answers_once(self):
        pair = Pair(10)
        with pytest.raises(ValueError, match="expected the next of"):
            pair.asker.masked(5, 5, 1)
        with pytest.raises(ValueError, match="no row beyond the last"):
            pair.asker.masked(0, pair.rows + 1, 1)
        for early in (
            lambda: pair.asker.answer(SEED, 1),
            lambda: pair.asker.digests(pair.data, pair.spans, 1),
            lambda: pair.evaluator.digests(pair.data, pair.spans, 1),
        ):
            with pytest.raises(ValueError, match="rows: expected all"):
                early()
        pair.exchange()
        pair.asker.answer(SEED, 1)
        with pytest.raises(ValueError, match="answered before"):
            pair.asker.answer(SEED, 1)

    def test_equal_ids_are_stored_once(self):
        data, spans = distinct(5)
        taker = native.KeyTaker.from_seed(SEED, b"dst")
        giver = native.KeyGiver.answer(taker.offers(), native.SecretScalar.random(), b"dst", SEED)
        twice = np.concatenate([spans, spans])
        asker = native.AskerRows.build(data, twice, b"p" * 32, giver, SEED, 1)
        asker.masked(0, native.rows_of_ids(10), 1)
        digests = asker.digests(data, twice, 1)
        assert (digests[:5] == digests[5:]).all()

    def test_points_are_checked(self):
        pair = Pair(2)
        offers = pair.taker.offers()
        offers[7, 1] = 255
        with pytest.raises(native.DecodeError) as caught:
            native.KeyGiver.answer(offers, native.SecretScalar.random(), b"dst", SEED)
        assert caught.value.index == 15
        with pytest.raises(ValueError, match="neutral"):
            native.EvaluatorRows.expect(pair.taker, IDENTITY, SEED, SEED, 2)
        with pytest.raises(native.DecodeError):
            native.EvaluatorRows.expect(pair.taker, b"\xff" * 32, SEED, SEED, 2)
        with pytest.raises(ValueError, match="point: expected 32 bytes, got 31"):
            native.EvaluatorRows.expect(pair.taker, bytes(31), SEED, SEED, 2)

    def test_more_ids_than_rows_can_be_numbered_are_refused(self):
        with pytest.raises(ValueError, match="at most 2147483648 keys, got 2147483649"):
            native.rows_of_ids(2**31 + 1)


class TestSecrets:
    def test_secrets_show_nothing(self):
        assert repr(native.SecretScalar.random()) == "SecretScalar(redacted)"
        assert repr(native.SecretKey.generate(2)) == "SecretKey(k=2, redacted)"
        pair = Pair(1)
        for each in (pair.taker, pair.asker, pair.evaluator):
            assert repr(each) == f"{type(each).__name__}(redacted)"

    @pytest.mark.parametrize(
        "secret",
        [
            native.SecretScalar.random(),
            native.SecretKey.generate(1),
            Pair(1).taker,
            Pair(1).asker,
            Pair(1).evaluator,
        ],
    )
    def test_secrets_are_not_pickled(self, secret):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(secret)

    def test_seeds_have_32_bytes(self):
        with pytest.raises(ValueError, match="seed: expected 32 bytes, got 31"):
            native.SecretScalar.from_seed(bytes(31))
        with pytest.raises(ValueError, match="seed: expected 32 bytes, got 0"):
            native.SecretKey.from_seed(1, b"")

    @pytest.mark.parametrize("k", [0, 65])
    def test_k_is_1_to_64(self, k):
        with pytest.raises(ValueError, match=f"k: expected 1..=64 messages, got {k}"):
            native.SecretKey.generate(k)
        with pytest.raises(ValueError, match=f"k: expected 1..=64 messages, got {k}"):
            native.Ciphertexts(k, 1)

    def test_public_key_travels(self):
        public = native.SecretKey.from_seed(3, SEED).public()
        again = native.PublicKey.decode(public.encode())
        assert again.k == 3
        assert again.encode() == public.encode()
        assert len(public.encode()) == 96

    def test_public_key_is_checked(self):
        with pytest.raises(ValueError, match="point 1 is the identity"):
            native.PublicKey.decode(GENERATOR + IDENTITY)
        with pytest.raises(ValueError, match="got 33 bytes"):
            native.PublicKey.decode(bytes(33))
        with pytest.raises(native.DecodeError) as caught:
            native.PublicKey.decode(GENERATOR + b"\xff" * 32)
        assert caught.value.index == 1


class TestEncryption:
    @pytest.mark.usefixtures("path")
    @pytest.mark.parametrize("k", [1, 2, 3, 7])
    @pytest.mark.parametrize("n", [0, 1, 8, 37])
    def test_decryption_returns_the_messages(self, k, n):
        key, messages, rows = encrypted_rows(k, n)
        assert rows.shape == (n, k + 1, 32)
        assert (key.decrypt(rows, np.full((n, k), 127), 2) == messages).all()

    @pytest.mark.usefixtures("path")
    def test_blocks_give_what_one_call_gives(self):
        key, messages, rows = encrypted_rows(2, 50)
        again = np.concatenate(
            [key.encrypt(messages[:13], SEED, 0, 1), key.encrypt(messages[13:], SEED, 13, 2)]
        )
        assert (again == rows).all()

    @pytest.mark.usefixtures("path")
    @pytest.mark.parametrize("top", [0, 1, 15, 16, 511, 512, 2**31 - 1])
    def test_masks_made_beforehand_give_the_same_bytes(self, top):
        key = native.SecretKey.from_seed(2, SEED)
        messages = np.array([[top, -top], [-top, 0], [0, top], [top // 2, -1 if top else 0]] * 5, np.int32)
        masks = key.masks(len(messages), SEED, 7, 2)
        assert len(masks) == len(messages)
        assert (masks.encrypt(messages, top, 1) == key.encrypt(messages, SEED, 7, 1)).all()

    def test_masks_serve_once(self):
        key, messages, _ = encrypted_rows(2, 9)
        masks = key.masks(9, SEED, 0, 1)
        masks.encrypt(messages, 127, 1)
        with pytest.raises(ValueError, match="have encrypted messages already"):
            masks.encrypt(messages, 127, 1)

    def test_masks_refuse_messages_beyond_the_bound(self):
        key, messages, _ = encrypted_rows(2, 9)
        messages[4, 1] = -128
        with pytest.raises(ValueError, match="expected at most 127 in absolute value, got -128 in row 4"):
            key.masks(9, SEED, 0, 1).encrypt(messages, 127, 1)

    def test_masks_cannot_be_pickled_or_read(self):
        masks = native.SecretKey.from_seed(1, SEED).masks(1, SEED, 0, 1)
        assert "redacted" in repr(masks)
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(masks)

    def test_paths_agree(self):
        def ciphertexts():
            return encrypted_rows(3, 29)[2].tobytes()

        first, *others = on_every_path(ciphertexts)
        assert all(other == first for other in others)

    def test_equal_messages_look_different(self):
        key = native.SecretKey.from_seed(1, SEED)
        rows = key.encrypt(np.zeros((20, 1), np.int32), SEED, 0, 1)
        assert len({bytes(p) for p in rows.reshape(-1, 32)}) == 40

    @pytest.mark.usefixtures("path")
    def test_extreme_messages_decrypt(self):
        key = native.SecretKey.from_seed(1, SEED)
        messages = np.array([[2**24], [-(2**24)], [2**17], [-1]], np.int32)
        rows = key.encrypt(messages, SEED, 0, 1)
        assert (key.decrypt(rows, np.full((4, 1), 2**24), 1) == messages).all()

    @pytest.mark.usefixtures("path")
    def test_message_beyond_its_bound_names_the_row(self):
        key, messages, rows = encrypted_rows(2, 20)
        bounds = np.full((20, 2), 127)
        bounds[11, 1] = abs(messages[11, 1]) - 1
        with pytest.raises(ValueError, match="row 11 holds no message 1 within"):
            key.decrypt(rows, bounds, 1)

    @pytest.mark.usefixtures("path")
    def test_bad_point_is_named(self):
        key, _, rows = encrypted_rows(2, 20)
        rows[7, 2] = 255
        with pytest.raises(native.DecodeError) as caught:
            key.decrypt(rows, np.full((20, 2), 127), 1)
        assert caught.value.index == 7 * 3 + 2

    def test_bounds_are_checked(self):
        key, _, rows = encrypted_rows(1, 2)
        with pytest.raises(ValueError, match=r"bounds: expected 0..=2\^40, got -1 in row 1"):
            key.decrypt(rows, np.array([[1], [-1]]), 1)

    def test_wrong_shapes_and_types_are_named(self):
        key, messages, rows = encrypted_rows(2, 4)
        with pytest.raises(ValueError, match=r"messages: .* int32 .* \[n, 2\], got shape \[4, 1\]"):
            key.encrypt(messages[:, :1].copy(), SEED, 0, 1)
        with pytest.raises(TypeError, match=r"messages: .* got dtype int64"):
            key.encrypt(messages.astype(np.int64), SEED, 0, 1)
        with pytest.raises(TypeError, match=r"messages: .* got list"):
            key.encrypt([[1, 2]], SEED, 0, 1)
        with pytest.raises(ValueError, match="got one that is not C-contiguous"):
            key.encrypt(np.asfortranarray(messages), SEED, 0, 1)
        with pytest.raises(ValueError, match=r"bounds: .* \[4, 2\], got shape \[3, 2\]"):
            key.decrypt(rows, np.zeros((3, 2), np.int64), 1)
        with pytest.raises(ValueError, match="first: expected"):
            key.encrypt(messages, SEED, 2**64 - 2, 1)

    @pytest.mark.parametrize("threads", [0, 1025])
    def test_thread_counts_are_checked(self, threads):
        key, messages, _ = encrypted_rows(1, 1)
        with pytest.raises(ValueError, match=f"threads: expected 1..=1024, got {threads}"):
            key.encrypt(messages, SEED, 0, threads)


class TestHistograms:
    @pytest.mark.usefixtures("path")
    @pytest.mark.parametrize("k", [1, 2, 3])
    @pytest.mark.parametrize(("n", "size"), [(40, 0), (40, 1), (40, 33), (900, 900)])
    def test_encrypted_sums_are_the_plain_sums(self, k, n, size):
        key, messages, rows = encrypted_rows(k, n)
        rng = np.random.default_rng(n + size)
        counts = np.array([4, 1, 9, 3, 5], np.uint32)
        bins = np.stack([rng.integers(0, c, n, dtype=np.uint8) for c in counts])
        subset = rng.permutation(n)[:size].astype(np.uint32)
        kept = native.Ciphertexts(k, n)
        kept.append(rows[: n // 3], 1)
        kept.append(rows[n // 3 :], 2)
        assert len(kept) == n
        plain = native.plain_histogram(bins, counts, messages, subset, 2)
        sums = native.encrypted_histogram(kept, bins, counts, subset, 2)
        assert len(sums) == len(plain) == 22
        fresh = sums.rerandomised(key.public(), SEED, 5, 2)
        assert (key.decrypt(fresh, np.full((22, k), 127 * n), 1) == plain[:, :k]).all()

    def test_plain_sums_are_numpys(self):
        rng = np.random.default_rng(1)
        bins = rng.integers(0, 6, (3, 100), dtype=np.uint8)
        messages = rng.integers(-(2**31), 2**31, (100, 2), dtype=np.int32)
        subset = rng.permutation(100)[:60].astype(np.uint32)
        plain = native.plain_histogram(bins, np.full(3, 6, np.uint32), messages, subset, 1)
        for column in range(3):
            for b in range(6):
                hit = subset[bins[column, subset] == b]
                row = plain[6 * column + b]
                assert row[:2].tolist() == messages[hit].astype(np.int64).sum(0).tolist()
                assert row[2] == len(hit)

    def test_paths_agree_and_paths_mix(self):
        key, _, rows = encrypted_rows(2, 300)
        bins = (np.arange(900) % 7).astype(np.uint8).reshape(3, 300)
        counts, subset = np.full(3, 7, np.uint32), np.arange(300, dtype=np.uint32)
        kept = native.Ciphertexts(2, 300)
        kept.append(rows, 1)

        def sums():
            found = native.encrypted_histogram(kept, bins, counts, subset, 1)
            merged = found.merge(np.arange(21, dtype=np.uint32) // 2, 11, 1)
            return merged.rerandomised(key.public(), SEED, 0, 2).tobytes() + found.encoded(1).tobytes()

        first, *others = on_every_path(sums)
        assert all(other == first for other in others)

    @pytest.mark.usefixtures("path")
    def test_merging_adds_groups_and_leaves_out(self):
        key, messages, rows = encrypted_rows(1, 12)
        kept = native.Ciphertexts(1, 12)
        kept.append(rows, 1)
        bins = np.arange(12, dtype=np.uint8).reshape(1, 12)
        subset = np.arange(12, dtype=np.uint32)
        sums = native.encrypted_histogram(kept, bins, np.array([12], np.uint32), subset, 1)
        groups = np.array([0, 1, 0, 3, 0xFFFFFFFF, 3, 3, 1, 0, 0, 0, 1], np.uint32)
        merged = key.decrypt(sums.merge(groups, 4, 1).encoded(1), np.full((4, 1), 5000), 1)
        wanted = [messages[groups == g].sum() for g in range(4)]
        assert merged[:, 0].tolist() == wanted
        with pytest.raises(ValueError, match=r"groups: expected groups below 3 .* got 3 at position 3"):
            sums.merge(groups, 3, 1)

    @pytest.mark.usefixtures("path")
    def test_a_bad_block_leaves_the_rows_as_they_were(self):
        _, _, rows = encrypted_rows(2, 10)
        kept = native.Ciphertexts(2, 10)
        kept.append(rows, 1)
        rows[4, 1] = 255
        with pytest.raises(native.DecodeError) as caught:
            kept.append(rows, 1)
        assert caught.value.index == 4 * 3 + 1
        assert len(kept) == 10

    def test_what_does_not_fit_is_named(self):
        key, messages, rows = encrypted_rows(1, 10)
        kept = native.Ciphertexts(1, 10)
        kept.append(rows, 1)
        bins = np.full((2, 12), 2, np.uint8)
        counts = np.array([3, 3], np.uint32)
        subset = np.arange(10, dtype=np.uint32)
        with pytest.raises(ValueError, match="subset: expected positions below 10, got 11 at position 0"):
            native.encrypted_histogram(kept, bins, counts, np.array([11], np.uint32), 1)
        with pytest.raises(ValueError, match="bins: expected codes below 2 in column 1, got 2"):
            native.encrypted_histogram(kept, bins, np.array([3, 2], np.uint32), subset, 1)
        with pytest.raises(ValueError, match=r"bin_counts: .* \[2\], got shape \[3\]"):
            native.encrypted_histogram(kept, bins, np.ones(3, np.uint32), subset, 1)
        with pytest.raises(ValueError, match=r"bin_counts: expected 1..=256 bins in column 0, got 0"):
            native.encrypted_histogram(kept, bins, np.zeros(2, np.uint32), subset, 1)
        with pytest.raises(ValueError, match=r"messages: .* \[12, k\], got shape \[10, 1\]"):
            native.plain_histogram(bins, counts, messages, subset, 1)
        sums = native.encrypted_histogram(kept, bins, counts, subset, 1)
        with pytest.raises(ValueError, match="public: expected a key for 1 messages, got 2"):
            sums.rerandomised(native.SecretKey.from_seed(2, SEED).public(), SEED, 0, 1)
        assert key.k == kept.k == sums.k == 1
