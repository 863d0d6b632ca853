"""The Containerfile names what there is."""

import json
import re
import shlex
import tomllib
from pathlib import Path

from parley.cli.main import main

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "container" / "Containerfile"


def instructions():
    """Each instruction with its words; lines that go on are one."""
    text = re.sub(r"^#.*\n", "", FILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


def of(name):
    return [words for kind, words in instructions() if kind == name]


def test_what_is_copied_exists_and_is_enough_to_build():
    copied = []
    for words in of("COPY"):
        *sources, _target = words.split()
        if not words.startswith("--from="):
            assert all((ROOT / source).exists() for source in sources), words
            copied += sources
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    named = [build["project"]["readme"], *build["project"]["license-files"], "pyproject.toml"]
    assert set(named) <= set(copied)
    tool = build["tool"]["maturin"]
    assert {tool["python-source"], Path(tool["manifest-path"]).parts[0]} <= set(copied)


def test_what_is_run_is_what_the_program_knows(capsys):
    (entry,), (command,), (health,) = of("ENTRYPOINT"), of("CMD"), of("HEALTHCHECK")
    checked = json.loads(health[health.index("CMD") + 3 :])
    assert json.loads(entry) == ["parley"] == checked[:1]
    for word, *options in (json.loads(command), checked[1:]):
        assert main([word, "--help"]) == 0
        known = capsys.readouterr().out
        assert all(option in known for option in options)


def test_the_extras_exist_and_the_user_has_no_rights():
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extras,) = re.findall(r"\.whl\)\[([a-z,]+)\]", FILE.read_text())
    assert set(extras.split(",")) <= set(build["project"]["optional-dependencies"])
    (user,) = of("USER")
    assert user == "parley"
    (home,) = of("VOLUME")
    assert shlex.split(of("ENV")[0]) == [f"PARLEY_HOME={home}"]
    assert "Not tried" in FILE.read_text()
