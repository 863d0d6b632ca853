"""The settings of a home: stated once, shown with their source, and no misspelt one passes unnoticed."""

import pytest

from parley.core.errors import UsageError
from parley.store.home import Home
from parley.store.settings import SETTINGS_FILE, Settings, explained, helps, read_settings, written


def folder_with(tmp_path, text):
    (tmp_path / SETTINGS_FILE).write_text(text)
    return tmp_path


LEAST = 'party = "bank"\nlisten = ""\n'


def test_every_setting_is_explained_in_a_line():
    assert tuple(helps()) == Settings.__struct_fields__
    for text in helps().values():
        assert text
        assert "\n" not in text


def test_where_each_value_comes_from(tmp_path):
    shown = {each.name: each for each in explained(folder_with(tmp_path, LEAST + "threads = 2\n"))}
    assert tuple(shown) == Settings.__struct_fields__
    assert (shown["threads"].value, shown["threads"].source) == (2, "file")
    assert (shown["patience"].value, shown["patience"].source) == (120.0, "default")
    assert {name for name, each in shown.items() if each.source == "file"} == {"party", "listen", "threads"}


def test_what_init_writes_is_what_is_read(tmp_path):
    settings = Settings(party="bank", listen="127.0.0.1:7443", relay=True, patience=3.5)
    assert read_settings(folder_with(tmp_path, written(settings))) == settings


@pytest.mark.parametrize(
    ("line", "near"),
    [
        ("pateince = 3", "patience"),
        ("minimum-rows = 3", "minimum_rows"),
        ("Threads = 3", "threads"),
        ("relais = true", "relay"),
    ],
)
def test_a_misspelt_setting_is_an_error_that_names_the_nearest(tmp_path, line, near):
    with pytest.raises(UsageError) as caught:
        Home.open(folder_with(tmp_path, LEAST + line))
    assert caught.value.code == "bad-settings"
    assert line.split()[0] in caught.value.what
    assert repr(near) in caught.value.remedy


def test_a_setting_like_no_other_is_an_error_that_names_them_all(tmp_path):
    with pytest.raises(UsageError) as caught:
        read_settings(folder_with(tmp_path, LEAST + "xyz = 1"))
    for name in Settings.__struct_fields__:
        assert name in caught.value.remedy


@pytest.mark.parametrize(
    "text", ['party = "bank"', LEAST + "threads = -1", LEAST + "threads", LEAST + "relay = 1"]
)
def test_settings_that_are_not_valid(tmp_path, text):
    with pytest.raises(UsageError) as caught:
        read_settings(folder_with(tmp_path, text))
    assert caught.value.code == "bad-settings"


def test_settings_that_are_no_text(tmp_path):
    (tmp_path / SETTINGS_FILE).write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError) as caught:
        read_settings(tmp_path)
    assert caught.value.code == "bad-settings"
