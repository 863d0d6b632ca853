"""The cache of codes: against an obvious model, and with many who ask at the same time."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parley.core.errors import UsageError
from parley.serving.features.cache import Cache
from parley.serving.features.coded import Coded

NAMES = "abcdef"
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.lists(st.sampled_from(NAMES), max_size=8)),
        st.tuples(st.just("wait"), st.integers(1, 6)),
        st.tuples(st.just("change"), st.sampled_from(NAMES), st.none() | st.integers(0, 255)),
    ),
    max_size=30,
)


class Source:
    """Has two codes of some ids; notes what it was asked for."""

    def __init__(self):
        self.codes = {each: ord(each) for each in NAMES[:4]}
        self.asked = []

    async def fetch(self, ids):
        self.asked.append(list(ids))
        return coded([self.codes.get(each) for each in ids])


def coded(values):
    found = [(value, 255 - value) for value in values if value is not None]
    codes = np.array(found, dtype=np.uint8).reshape(-1, 2).T
    return Coded(np.array([value is not None for value in values], dtype=np.bool_), codes)


class Model:
    """The same by lists, in an obvious way."""

    def __init__(self, age, entries):
        self.age, self.entries = age, entries
        self.held = []  # (id, since, value), the least recently used first
        self.hits = self.misses = 0

    def ask(self, ids, now, source):
        fetched = {}
        found = {}
        for each in dict.fromkeys(ids):
            entry = next((entry for entry in self.held if entry[0] == each), None)
            if entry is not None and now - entry[1] < self.age:
                self.held.remove(entry)
                self.held.append(entry)
                found[each] = entry[2]
                self.hits += 1
            else:
                fetched[each] = source.get(each)
                self.misses += 1
        for each, value in fetched.items():
            self.held = [entry for entry in self.held if entry[0] != each]
            self.held.append((each, now, value))
        self.held = self.held[-self.entries :]
        return [(found | fetched)[each] for each in ids], list(fetched)


@settings(deadline=None, max_examples=150)
@given(STEPS, st.integers(0, 8), st.integers(1, 5))
def test_it_is_an_obvious_model_of_itself(steps, age, entries):
    source, model, now = Source(), Model(age, entries), [0]
    cache = Cache(source.fetch, 2, age=age, entries=entries, clock=lambda: now[0])

    async def done():
        for step in steps:
            match step:
                case "wait", seconds:
                    now[0] += seconds
                case "change", name, value:
                    source.codes[name] = value
                case _, ids:
                    source.asked.clear()
                    values, fetched = model.ask(ids, now[0], source.codes)
                    given_ = await cache.codes(ids)
                    expected = coded(values)
                    assert np.array_equal(given_.known, expected.known)
                    assert np.array_equal(given_.codes, expected.codes)
                    assert source.asked == ([fetched] if fetched else [])
                    assert (cache.hits, cache.misses, len(cache)) == (
                        model.hits,
                        model.misses,
                        len(model.held),
                    )

    asyncio.run(done())


class Slow(Source):
    """Answers when it is let."""

    def __init__(self):
        super().__init__()
        self.gate = asyncio.Event()

    async def fetch(self, ids):
        answer = await super().fetch(ids)
        await self.gate.wait()
        if "f" in ids:
            raise UsageError("source-late", "it did not", remedy="wait")
        return answer


async def test_an_id_that_many_ask_for_at_the_same_time_is_fetched_once():
    source = Slow()
    cache = Cache(source.fetch, 2, age=10, entries=10, clock=lambda: 0)
    asking = [asyncio.create_task(cache.codes(["a", "e", name])) for name in "bcbc"]
    await asyncio.sleep(0)
    source.gate.set()
    answers = await asyncio.gather(*asking)
    assert source.asked == [["a", "e", "b"], ["c"]]
    assert [answer.known.tolist() for answer in answers] == [[True, False, True]] * 4
    assert answers[1].codes[0].tolist() == [ord("a"), ord("c")]


async def test_who_gives_up_waiting_takes_the_answer_from_nobody():
    source = Slow()
    cache = Cache(source.fetch, 2, age=10, entries=10, clock=lambda: 0)
    first, second = (asyncio.create_task(cache.codes(["a"])) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert (await second).known.all()
    assert source.asked == [["a"]]
    assert first.cancelled()


async def test_a_fetch_that_fails_is_told_to_all_and_kept_for_nobody():
    source = Slow()
    source.gate.set()
    cache = Cache(source.fetch, 2, age=10, entries=10, clock=lambda: 0)
    failed = await asyncio.gather(*(cache.codes(["a", "f"]) for _ in range(3)), return_exceptions=True)
    assert [error.code for error in failed] == ["source-late"] * 3
    assert len(source.asked) == 1
    with pytest.raises(UsageError):
        await cache.codes(["f"])
    assert len(source.asked) == 2
    assert len(cache) == 0


async def test_more_ids_than_are_held_are_answered_all_the_same():
    source = Source()
    cache = Cache(source.fetch, 2, age=10, entries=2, clock=lambda: 0)
    assert (await cache.codes(list(NAMES))).known.tolist() == [True] * 4 + [False] * 2
    assert len(cache) == 2
