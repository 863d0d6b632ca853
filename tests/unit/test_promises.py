"""What a member has promised binds it as long as no takeover has come, also after it has promised again."""

from parley.ledger.contract.takeover import Promise
from parley.ledger.engines.embedded.high_water import HIGH_WATER_FILE, HighWater, Mark
from parley.ledger.engines.embedded.promises import PROMISE_FILE, PromiseFile, Succession
from parley.party.ledger import marks_of
from parley.store.home import Home
from parley.store.settings import Settings


def promised(epoch, successor, era=0):
    promise = Promise(member="bank", era=era, size=3, root="11" * 32, signature="22" * 64)
    return Succession(epoch, successor, promise)


def test_every_successor_that_was_promised_since_the_last_takeover_is_remembered(tmp_path):
    file = PromiseFile(tmp_path / "promise.json")
    assert (file.made, file.successors(0)) == (None, set())
    for epoch, successor in ((1, "operator"), (2, "regulator"), (3, "regulator")):
        file.keep(promised(epoch, successor))
    for each in (file, PromiseFile(tmp_path / "promise.json")):
        assert each.made == promised(3, "regulator")
        assert each.successors(0) == {"operator", "regulator"}
        assert each.successors(1) == {"regulator"}
        assert each.successors(3) == set()
    file.keep(promised(5, "holder", era=3))
    assert PromiseFile(tmp_path / "promise.json").successors(0) == {"holder"}, "a takeover settles the others"


def test_a_promise_that_an_earlier_release_has_kept_is_read(tmp_path):
    file = PromiseFile(tmp_path / "promise.json")
    file.keep(promised(1, "operator"))
    text = (tmp_path / "promise.json").read_text().replace(',"earlier":[]', "")
    assert "earlier" not in text
    (tmp_path / "promise.json").write_text(text)
    assert PromiseFile(tmp_path / "promise.json").successors(0) == {"operator"}


def test_a_home_of_an_earlier_release_keeps_its_mark_and_its_promise(tmp_path):
    home = Home.create(tmp_path / "bank", Settings(party="bank", listen=""))
    (home.path / "ledger").mkdir()
    HighWater(home.path / "ledger" / HIGH_WATER_FILE).raise_to(Mark(3, "11" * 32, "note"))
    PromiseFile(home.path / "ledger" / PROMISE_FILE).keep(promised(1, "operator"))
    for _ in range(2):
        folder = marks_of(home)
        assert folder == home.path / "keys"
        assert HighWater(folder / HIGH_WATER_FILE).mark.size == 3
        assert PromiseFile(folder / PROMISE_FILE).successors(0) == {"operator"}
        assert not list((home.path / "ledger").iterdir()), "a stale copy would come back with a backup"
