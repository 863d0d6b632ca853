"""Which functions of the source read what may come from elsewhere, found in the syntax."""

import ast
import re
from pathlib import Path

import parley

SOURCE = Path(parley.__file__).parent
WHERE = ("net", "protocols", "ledger")
"""Packages in which every such function has to be fuzzed."""

_NAME = re.compile(
    r"_?(decode|parse|read|open|load|unpack|verify)(_|d?$|d_|$)\w*|\w+_(read|parsed|opened|loaded)"
    r"|took|take|checked|compare|cosignature|fork_evidence|\w*received"
)
_READS = re.compile(
    r"loads|from_bytes|unpack(_from)?|b64decode|urlsafe_b64decode|frombuffer|fromhex|unpackbits|convert"
    r"|load_(der|pem)_\w+|\w*(decode|unhexed)"
)
_GIVEN = re.compile(r"\b(bytes|bytearray|memoryview|Buffer|Chunk|Frame|str)\b")


def entries():
    """Every function that takes bytes or text and, by its name or by what it calls, reads them.

    Returns:
        set of ``(path below the package, qualified name)``.
    """
    return {
        (str(path.relative_to(SOURCE)), name)
        for package in WHERE
        for path in sorted((SOURCE / package).rglob("*.py"))
        for name in _found(ast.parse(path.read_text()), "")
    }


def _found(tree, place):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _found(node, f"{place}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = _given(node)
            if given and (_NAME.fullmatch(node.name) or _reads(node, given)):
                yield place + node.name
            yield from _found(node, f"{place}{node.name}.<locals>.")
        elif not isinstance(node, ast.expr):
            yield from _found(node, place)


def _given(function):
    """Arguments that are bytes or text."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {one.arg for one in named if one.annotation and _GIVEN.search(ast.unparse(one.annotation))}


def _reads(function, given):
    """Whether a call takes apart what an argument holds."""
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute | ast.Name):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else call.func.id
            used = {one.id for one in ast.walk(call) if isinstance(one, ast.Name)}
            if _READS.fullmatch(name) and used & given:
                return True
    return False
