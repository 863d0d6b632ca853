"""The documents say what is so: help texts, commands, links, exit codes, the snippet."""

import re
import shlex

import pytest
from docs import write_errors
from docs.write_api import FOLDER, PAGES
from docs.write_commands import COMMANDS, PAGE, help_of, page

from parley.core import errors
from parley.core.errors import ParleyError
from parley.core.plan import read_plan
from parley.learn.parameters import boosting_parameters

from tests.system.parties import ROOT

DOCUMENTS = sorted(
    path
    for path in (
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("spec/*.md"),
        *ROOT.glob("examples/**/*.md"),
    )
)


def fenced(text, language):
    """The contents of the text's code blocks of a language, without the indentation of lists."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in blocks]


def typed(text):
    """Commands that a document shows being typed."""
    for block in fenced(text, "console"):
        yield from re.findall(r"^\w*\$ (.+)$", block, re.MULTILINE)


def test_help_texts_are_the_programs_own():
    assert PAGE.read_text() == page(), "run `make docs`"


def test_the_list_of_errors_is_made_from_their_pages():
    assert write_errors.PAGE.read_text() == write_errors.page(), "run `make docs`"


def test_the_tables_of_routes_and_metrics_are_the_programs_own():
    for name, text in PAGES.items():
        assert (FOLDER / name).read_text() == text, "run `make docs`"


def test_help_is_worth_reading():
    for command in COMMANDS[1:]:
        text = help_of(command)
        assert "Example" in text, command
        assert f"parley {command}" in text, command
        assert max(map(len, text.splitlines())) <= 110, command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), target
        if anchor:
            assert anchor in anchors(found), target


def anchors(document):
    titles = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist(document):
    """Each typed command, with all its options, is one that the program or the Makefile knows."""
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in typed(document.read_text()):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            assert set(words[1:]) <= set(targets), line
            continue
        assert words[0] == "parley", line
        command = next((each for each in (" ".join(words[1:3]), words[1]) if each in COMMANDS), None)
        assert command, line
        known = help_of("run start" if command == "run" else command)
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"^ +{option}\b", known, re.MULTILINE), line


def test_the_readme_shows_the_way():
    commands = list(typed((ROOT / "README.md").read_text()))
    assert [line for line in commands if line.startswith("make")] == [
        "make install",
        "make demo",
        "make check",
        "make test",
    ]
    for needed in ("init", "consortium create", "invite", "join", "up", "data add", "run", "approve"):
        assert any(line.startswith(f"parley {needed}") for line in commands), needed


def test_the_snippet_of_the_readme_runs(monkeypatch):
    """As printed but for fewer trees."""
    monkeypatch.chdir(ROOT)
    (snippet,) = fenced((ROOT / "README.md").read_text(), "python")
    names = {}
    exec(compile(snippet.replace("n_estimators=50", "n_estimators=3"), "README.md", "exec"), names)  # noqa: S102
    assert names["scores"].shape == (len(names["labels"]), 2)
    assert set(names["labels"]) == {0.0, 1.0}
    positive = names["labels"] > 0
    assert names["scores"][positive, 1].mean() > names["scores"][~positive, 1].mean()


def test_every_exit_code_is_documented():
    rows = re.findall(
        r"^\| (\d+) \| `([a-z-]+)` \|", (ROOT / "docs" / "exit-codes.md").read_text(), re.MULTILINE
    )
    documented = {family: int(code) for code, family in rows}
    kinds = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, ParleyError)
    ]
    assert documented == {kind.family: kind.exit_code for kind in kinds} | {"interrupted": 130}
    for code in documented.values():
        assert re.search(rf"\b{code}\b", help_of("")), code


def test_the_plan_of_the_example_is_the_main_job():
    plan = read_plan((ROOT / "examples" / "credit" / "plan.toml").read_text())
    assert (plan.active, plan.passive) == ("bank", ("operator",))
    parameters = boosting_parameters(plan.model)
    assert (parameters.n_estimators, parameters.max_depth) == (50, 5)


def test_settings_are_documented_where_the_file_says():
    text = help_of("init")
    for option in ("--listen", "--threads", "--minimum-rows"):
        assert option in text
