"""API keys: how they are kept, when they hold, and how fast they may be used."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from parley.cli.main import main
from parley.core.errors import PolicyRefused, UsageError
from parley.serving.http.callers import Caller, Pace
from parley.serving.http.keys import KeyFile, KeyRing
from parley.store.home import Home
from parley.store.settings import Settings

NOW = 1_700_000_000


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def ring(file, clock, wall=lambda: NOW):
    return KeyRing(file, clock, wall)


def test_a_key_is_kept_as_a_hash_that_only_its_user_may_read(tmp_path):
    file = KeyFile(tmp_path)
    key, shown = file.add("shop", NOW)
    text = file.path.read_text()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700
    assert shown.rpartition("_")[2] not in text
    assert shown[12:] not in text
    assert len(shown[12:]) == 43
    assert file.read() == (key,)


def test_keys_made_at_the_same_time_are_all_kept(tmp_path):
    file = KeyFile(tmp_path)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: file.add(f"key-{n}", NOW), range(20)))
    assert len(file.read()) == len({each.identifier for each in file.read()}) == 20


@pytest.mark.parametrize("name", ["", "Shop", "a b", "(oidc)", "x" * 64, "-a", "a\n"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with pytest.raises(UsageError) as caught:
        KeyFile(tmp_path).add(name, NOW)
    assert caught.value.code == "bad-key-name"


def test_two_keys_have_two_names_and_only_one_that_is_there_is_removed(tmp_path):
    file = KeyFile(tmp_path)
    file.add("shop", NOW)
    with pytest.raises(UsageError) as caught:
        file.add("shop", NOW)
    assert caught.value.code == "key-exists"
    file.remove("shop")
    with pytest.raises(UsageError) as caught:
        file.remove("shop")
    assert caught.value.code == "no-such-key"


def test_a_running_server_looks_again_once_a_second(tmp_path):
    file, clock = KeyFile(tmp_path), Clock()
    known = ring(file, clock)
    _, shown = file.add("shop", NOW, rate=5, models=("run-1",))
    caller = known.caller(shown)
    assert (caller.label, caller.rate, caller.burst, caller.models) == ("shop", 5, 5, frozenset({"run-1"}))
    file.remove("shop")
    assert known.caller(shown) == caller
    clock.now += 1
    assert known.caller(shown) is None
    file.path.unlink()
    clock.now += 1
    assert known.caller(shown) is None


def test_a_key_that_is_altered_anywhere_is_nobodys(tmp_path):
    file = KeyFile(tmp_path)
    _, shown = file.add("shop", NOW)
    file.add("other", NOW)
    known = ring(file, Clock())
    assert known.caller(shown)
    for place in range(len(shown)):
        other = "0" if shown[place] != "0" else "1"
        assert known.caller(shown[:place] + other + shown[place + 1 :]) is None
    for bad in ("", shown[:-1], shown + "A", shown.upper(), f" {shown}", "pk_" + "é" * 52):
        assert known.caller(bad) is None


def test_a_key_ends_at_its_second(tmp_path):
    file = KeyFile(tmp_path)
    _, shown = file.add("shop", NOW, until=NOW + 10)
    assert ring(file, Clock(), lambda: NOW + 9.9).caller(shown)
    with pytest.raises(PolicyRefused) as caught:
        ring(file, Clock(), lambda: NOW + 10).caller(shown)
    assert caught.value.code == "key-expired"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"keys": [{}]}', '{"keys": [], "more": 1}', "[" * 100_000, b"\xff"], ids=range(7)
)
def test_a_file_that_cannot_be_read_lets_nobody_in_until_it_can(tmp_path, text):
    file, clock = KeyFile(tmp_path), Clock()
    _, shown = file.add("shop", NOW)
    known, good = ring(file, clock), file.path.read_bytes()
    assert known.caller(shown)
    file.path.write_bytes(text if isinstance(text, bytes) else text.encode())
    clock.now += 1
    with pytest.raises(UsageError) as caught:
        known.caller(shown)
    assert caught.value.code == "serving-keys-unreadable"
    file.path.write_bytes(good)
    clock.now += 1
    assert known.caller(shown)


# ── how fast ──────────────────────────────────────────────────────────────────────────────────────────────


def caller(name="key a", rate=10.0, burst=3):
    return Caller(name, "a", rate, burst, frozenset(), metrics=False)


def test_a_burst_comes_at_once_and_then_one_at_a_time():
    clock = Clock()
    pace = Pace(clock)
    assert [pace.wait(caller()) for _ in range(3)] == [0, 0, 0]
    assert pace.wait(caller()) == pytest.approx(0.1)
    assert pace.wait(caller()) == pytest.approx(0.1)  # one that was refused is not counted
    assert pace.wait(caller("key b")) == 0
    clock.now += 0.1
    assert pace.wait(caller()) == 0
    assert pace.wait(caller()) > 0
    clock.now += 1e6
    assert [pace.wait(caller()) == 0 for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(("rate", "burst"), [(0.3, 1), (7.0, 2), (1000.0, 50)])
def test_in_the_long_run_the_rate_is_the_rate(rate, burst):
    clock = Clock()
    pace, allowed = Pace(clock), 0
    seconds = 100 / rate
    for _ in range(1000):
        allowed += pace.wait(caller(rate=rate, burst=burst)) == 0
        clock.now += seconds / 1000
    assert 100 <= allowed <= 100 + burst


def test_only_so_many_callers_are_remembered():
    pace = Pace(Clock())
    for n in range(10_500):
        pace.wait(caller(f"oidc {n}"))
    assert len(pace._ahead) == 10_000


# ── the command ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def home(tmp_path):
    Home.create(tmp_path / "home", Settings(party="bank", listen=""))
    return tmp_path / "home"


def run(capsys, *words, code=0):
    assert main([*map(str, words), "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_command_makes_lists_and_removes_keys(home, capsys):
    made = run(
        capsys,
        "key",
        "add",
        "shop",
        "--rate",
        20,
        "--until",
        "2999-12-31",
        "--model",
        "run-1",
        "--home",
        home,
    )
    assert ring(KeyFile(home), Clock()).caller(made["key"]).burst == 20
    assert (made["rate"], made["models"], made["until"]) == (20, ["run-1"], 32_503_593_600)
    (listed,) = run(capsys, "key", "list", "--home", home)["keys"]
    assert listed == {name: value for name, value in made.items() if name != "key"}
    assert main(["key", "list", "--home", str(home)]) == 0
    assert "shop" in capsys.readouterr().out
    assert run(capsys, "key", "remove", "shop", "--home", home) == {"removed": "shop"}
    assert run(capsys, "key", "list", "--home", home) == {"keys": []}


@pytest.mark.parametrize("until", ["tomorrow", "2020-01-01", "0001-01-01", "2030-13-01"])
def test_a_day_that_is_none_or_past_is_refused(home, capsys, until):
    said = run(capsys, "key", "add", "shop", "--until", until, "--home", home, code=2)
    assert said["error"]["code"] == "bad-arguments"
