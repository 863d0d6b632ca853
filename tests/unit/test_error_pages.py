"""Every code that an error can carry has a page, every page says what is so, and every error a remedy."""

import ast
import functools
import json
import re
import shlex

import pytest
from docs.write_commands import COMMANDS, help_of

from parley.cli.explanations import HEADINGS, Explanation, codes, explain, parse
from parley.cli.main import main
from parley.cli.output import exit_code
from parley.core.errors import UsageError

from tests import error_codes
from tests.error_codes import KINDS, SOURCE, WARNING

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in (SOURCE / "explanations").iterdir()}
BY_FAMILY_IN_A_NAME = {"about_peer", "family", "kind"}
"""What an error is made with where its family is a value: of a worker's error, and of a connection's end."""


def test_every_code_in_the_source_can_be_read():
    """A code that is no literal is handed on, and listed as such; so none is missing below."""
    assert error_codes.unread() == set(error_codes.PASSED_ON)
    for module in error_codes.modules().values():
        for name, call in module.calls:
            if any(each.arg == "remedy" for each in call.keywords):
                assert name in KINDS or name == "__init__" or name in BY_FAMILY_IN_A_NAME, (module.name, name)


def test_every_code_has_a_page_and_every_page_a_code():
    assert set(codes()) == set(PAGES) == set(error_codes.families())


def test_every_page_names_the_families_that_its_code_is_raised_with():
    said = {code: set(explain(code).families) for code in codes()}
    assert said == error_codes.families()


def test_every_code_is_in_kebab_case():
    assert [
        code for code in error_codes.families() if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", code)
    ] == []


def test_every_error_is_raised_with_a_remedy():
    bare = []
    for each in error_codes.raised():
        name = each.call.func.attr if isinstance(each.call.func, ast.Attribute) else each.call.func.id
        if name not in KINDS and name != "__init__":
            continue  # what `fault` and the others make has a remedy of its own
        given = next((word.value for word in each.call.keywords if word.arg == "remedy"), None)
        if given is None or any(
            isinstance(text, str) and not text.strip() for text in each.module.texts(given)
        ):
            bare.append(each.where)
    assert bare == []


def test_every_page_is_whole():
    for code, text in PAGES.items():
        page = parse(text)
        assert page.code == code
        assert text.startswith(f"# {code}\n\nFamily: ")
        for family in page.families:
            said = "the run goes on" if family == WARNING else f"exit code {exit_code(family)}"
            assert f"`{family}` ({said})" in text, code
        assert page.meaning, code
        assert page.causes, code
        assert page.remedies, code
        assert page.related, code
        assert code not in page.related
        assert set(page.related) <= set(PAGES), code
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert target.removesuffix(".md") in PAGES, code
        assert max(map(len, text.splitlines())) <= 110, code


@functools.cache
def known_options(command):
    return set(re.findall(r"^ +(--[a-z-]+)\b", help_of(command), re.MULTILINE))


def test_the_commands_that_pages_name_exist():
    for code, text in PAGES.items():
        for line in re.findall(r"`parley ([^`]*)`", " ".join(text.split())):
            words = shlex.split(line)
            command = next((each for each in (" ".join(words[:2]), words[0]) if each in COMMANDS), "")
            assert command or words[0].startswith("--"), (code, line)
            options = {word for word in words if word.startswith("--")}
            if options:
                assert options <= known_options("run start" if command == "run" else command), (code, line)


def test_explain_prints_the_page(capsys):
    assert main(["explain", "table-changed"]) == 0
    said = capsys.readouterr().out
    assert "usage, exit code 2" in said
    for heading in HEADINGS:
        assert heading in said
    assert explain("table-changed").remedies[0][:40] in said


def test_explain_answers_scripts(capsys):
    assert main(["explain", "table-changed", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page == json.loads(json.dumps(page_of("table-changed")))
    assert main(["explain", "--json"]) == 0
    assert [each["code"] for each in json.loads(capsys.readouterr().out)["codes"]] == sorted(PAGES)


def page_of(code):
    page = explain(code)
    return {field: getattr(page, field) for field in Explanation.__struct_fields__}


def test_a_refusal_is_found_by_the_code_in_its_receipt():
    assert explain("plan-expired").code == "ledger-plan-expired"
    assert explain("replayed").code == "dropped-replayed"
    assert explain("run-state").code == "run-state"


@pytest.mark.parametrize("asked", ["table-chnaged", "TABLE-CHANGED", "../core/errors", "table/changed", ""])
def test_a_code_that_there_is_not_is_answered_with_the_nearest(asked):
    with pytest.raises(UsageError) as caught:
        explain(asked)
    assert caught.value.code == "unknown-code"
    if asked == "table-chnaged":
        assert "table-changed" in caught.value.remedy


def test_a_page_of_another_form_is_not_read_as_half_a_page():
    with pytest.raises(ValueError, match="unexpected headings"):
        parse(PAGES["no-home"].replace("## What to do", "## What else"))


def test_an_error_in_words_ends_with_the_command_that_explains_it(capsys, tmp_path):
    assert main(["members", "--home", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].strip() == "more: parley explain no-home"
    error = UsageError("no-home", "there is none", remedy="make one")
    assert str(error).splitlines()[-1].strip() == "more: parley explain no-home"


def test_an_error_for_scripts_has_the_code_and_no_more_words(capsys, tmp_path):
    assert main(["members", "--home", str(tmp_path / "nowhere"), "--json"]) == 2
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"family", "code", "what", "remedy"}
