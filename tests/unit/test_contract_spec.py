"""`spec/contract.md` says what the code says.

``python -m tests.unit.test_contract_spec`` writes its tables anew.
"""

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

import parley.ledger.contract
from parley.ledger.contract import CODES
from parley.ledger.contract.rules import NEWEST, VERSIONS
from parley.ledger.contract.state import Record
from parley.ledger.contract.transitions import diagram

SPEC = Path(__file__).parents[2] / "spec" / "contract.md"
MODULES = [
    importlib.import_module(f"parley.ledger.contract.{module.name}")
    for module in pkgutil.iter_modules(parley.ledger.contract.__path__)
]


def first_line(thing):
    return inspect.getdoc(thing).split("\n")[0]


def since(name):
    first = min(version for version, rules in VERSIONS.items() if name in rules)
    return "" if first == 1 else f" (from version {first})"


def types():
    rows = [
        f"| `{name}`{since(name)} | {', '.join(rule.standing)} | {', '.join(rule.roles)} | "
        f"{', '.join(rule.keys)} | "
        f"{', '.join(f'`{field}`' for field in rule.body.__struct_fields__)} | {first_line(rule.act)} |"
        for name, rule in sorted(VERSIONS[NEWEST].items())
    ]
    head = "| type | standing | roles | keys | body | what it does |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def stored():
    """Every record that stands in the state, by its path."""
    kinds = {
        kind.PATH: kind
        for module in MODULES
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Record) and getattr(kind, "PATH", "")
    }
    return sorted(kinds.items())


def records():
    rows = [
        f"| `{path}` | {first_line(kind)} | {', '.join(f'`{field}`' for field in kind.__struct_fields__)} |"
        for path, kind in stored()
    ]
    return "| path | record | fields |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def codes():
    rows = [f"| `{code}` | {words} |" for code, words in sorted(CODES.items())]
    return "| code | says |\n|---|---|\n" + "\n".join(rows) + "\n"


PARTS = {
    "diagram": lambda: f"```mermaid\n{diagram()}```\n",
    "types": types,
    "records": records,
    "codes": codes,
}


@pytest.mark.parametrize("part", PARTS)
def test_the_page_has_the_tables_of_the_code(part):
    text = SPEC.read_text()
    found = text.split(f"<!-- {part} -->\n")[1].split("<!-- end -->")[0]
    assert found == PARTS[part](), "run `python -m tests.unit.test_contract_spec`"


def test_every_code_is_used_and_every_one_used_is_known():
    used = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", None) in ("refuse", "Refusal"):
                used |= {
                    each.value
                    for each in ast.walk(node.args[0])
                    if isinstance(each, ast.Constant) and each.value in CODES
                }
    assert used == set(CODES)


def test_every_state_path_is_of_a_known_record():
    assert len(stored()) == len({path.split("<")[0] for path, _ in stored()})


def write():
    text = SPEC.read_text()
    for part, make in PARTS.items():
        before, rest = text.split(f"<!-- {part} -->\n")
        text = f"{before}<!-- {part} -->\n{make()}<!-- end -->{rest.split('<!-- end -->', 1)[1]}"
    SPEC.write_text(text)


if __name__ == "__main__":
    write()
