"""The contract computes the same everywhere, so nothing that may differ between two machines stands in it.

No floating point, no clock, no randomness, no sets (their order of iteration depends on the process), no
input or output, no logging, no object identity.
"""

import ast
from pathlib import Path

import pytest

import parley.ledger.contract

FOLDER = Path(parley.ledger.contract.__file__).parent
MODULES = sorted(FOLDER.glob("*.py"))
IMPORTS = (
    "collections.abc",
    "dataclasses",
    "itertools",
    "msgspec",
    "parley.core.errors",
    "parley.crypto.hashing",
    "parley.crypto.signatures",
    "parley.ledger.checkpoint",
    "parley.ledger.contract",
    "parley.ledger.encoding",
    "parley.ledger.merkle",
    "parley.ledger.notes",
    "parley.ledger.transaction",
    "types",
    "typing",
)
CALLS = (
    *("breakpoint", "complex", "compile", "delattr", "dir", "eval", "exec", "float", "frozenset", "globals"),
    *("hash", "id", "input", "locals", "object", "open", "print", "repr", "round", "set", "setattr", "vars"),
)
ATTRIBUTES = ("__hash__", "SigningKey", "generate", "popitem", "verify_all")


def faults(source):
    """What is wrong with a module: line and words."""
    for node in ast.walk(ast.parse(source)):
        for words in _faults_of(node):
            yield getattr(node, "lineno", 0), words


def _faults_of(node):
    match node:
        case ast.Constant(value=float() | complex()):
            yield f"the number {node.value}"
        case ast.Div() | ast.Pow():
            yield f"the operator {type(node).__name__}"
        case ast.Set() | ast.SetComp():
            yield "a set"
        case ast.AsyncFunctionDef() | ast.Await() | ast.Global() | ast.Nonlocal():
            yield type(node).__name__
        case ast.Name(id=name, ctx=ast.Load()) if name in CALLS:
            yield f"the name {name}"
        case ast.Attribute(attr=name) if name in ATTRIBUTES:
            yield f"the attribute {name}"
        case ast.FormattedValue(conversion=conversion) if conversion != -1:
            yield "a conversion in a formatted string"
        case ast.Import(names=names):
            yield from (f"import of {each.name}" for each in names if each.name not in IMPORTS)
        case ast.ImportFrom(module=module, names=names):
            allowed = module in IMPORTS or module.startswith("parley.ledger.contract.")
            yield from () if allowed else (f"import from {module}",)
            yield from (f"import of {each.name}" for each in names if each.name in ATTRIBUTES)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_a_module_of_the_contract_is_pure(path):
    assert list(faults(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "x = 0.5",
        "x = 1e3",
        "x = 1j",
        "x = a / b",
        "x /= 2",
        "x = a ** b",
        "x = {1, 2}",
        "x = {a for a in b}",
        "x = set(a)",
        "x = frozenset(a)",
        "x = list(map(set, a))",
        "x = hash(a)",
        "x = sorted(a, key=id)",
        "x = float(a)",
        "x = round(a)",
        "x = repr(a)",
        "x = f'{a!r}'",
        "print(a)",
        "open('f')",
        "import time",
        "import logging",
        "import os.path",
        "from random import choice",
        "from datetime import datetime",
        "from parley.net import tls",
        "from parley.crypto.signatures import SigningKey",
        "async def f(): pass",
        "def f():\n    global a",
        "a.popitem()",
    ],
)
def test_the_lint_finds(source):
    assert list(faults(source))


@pytest.mark.parametrize(
    "source",
    ["x = a // b", "x = {1: 2}", "x = {a: b for a in c}", "x = a.known(b)", "from msgspec import Meta"],
)
def test_the_lint_lets_through(source):
    assert list(faults(source)) == []


def test_only_the_table_of_transitions_changes_the_state_of_a_run():
    changes = [
        path.stem
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "but"
        and any(keyword.arg == "state" for keyword in node.keywords)
    ]
    assert changes == ["runs"]
