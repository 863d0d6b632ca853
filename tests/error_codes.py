"""Which error codes the source can raise, read from its syntax trees: every form in use."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import parley
from parley.core import errors
from parley.core.errors import ParleyError
from parley.ledger.contract.refusal import CODES
from parley.party import chronicle

SOURCE = Path(parley.__file__).parent
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, ParleyError)
}
FAULT = errors.PeerMisbehaved.family
WARNING = "warning"

_TAKING_A_CODE = {
    "fault": (0, FAULT, ""),
    "_fault": (1, FAULT, ""),
    "Broken": (0, FAULT, ""),
    "Rejected": (0, FAULT, ""),
    "_differs": (0, errors.UsageError.family, ""),
    "_drop": (0, errors.PolicyRefused.family, "dropped-"),
    "Dropped": (0, errors.PolicyRefused.family, "dropped-"),
    "Refusal": (0, errors.PolicyRefused.family, "ledger-"),
    "refuse": (0, errors.PolicyRefused.family, "ledger-"),
    "Abort": (1, errors.PeerAborted.family, ""),
} | {name: (0, kind.family, "") for name, kind in KINDS.items()}
"""What is called with a code: at which place, with which family, and what comes before the code."""

_FINDING = ("data/preflight.py", "data/drift.py", "serving/features/trial.py")
"""Where findings are warnings."""

PASSED_ON = {
    ("cli/asking.py", "answer.code"): (),
    ("cli/asking.py", "f'ledger-{receipt.code}'"): (),
    ("cli/consortium.py", "said.code"): (),
    ("cli/exports.py", "said.code"): (),
    ("cli/identity.py", "said.code"): (),
    ("cli/releases.py", "said.code"): (),
    ("cli/run.py", "outcome.code"): (),
    ("cli/runs.py", "outcome.code"): (),
    ("data/drift.py", "change.code"): ("drift-column-gone", "drift-type-changed"),
    ("data/urls.py", "bad"): ("sql-connection", "bad-settings"),
    ("data/urls.py", "unset"): ("source-variable-unset", "store-variable-unset"),
    ("ledger/contract/admission.py", "code"): (),
    ("ledger/contract/refusal.py", "code"): (),
    ("ledger/engines/cometbft/member.py", "code"): (),
    ("ledger/engines/cometbft/member.py", "f'dropped-{dropped.code}'"): (),
    ("ledger/engines/cometbft/migration.py", "code"): (),
    ("ledger/engines/embedded/comparing.py", "rejected.code"): (),
    ("ledger/engines/embedded/following.py", "rejected.code"): (),
    ("ledger/engines/embedded/member.py", "f'dropped-{dropped.code}'"): (),
    ("ledger/engines/embedded/ordering.py", "rejected.code"): (),
    ("net/certificates.py", "error.code"): (),
    ("net/tls.py", "error.code"): (),
    ("net/channel.py", "_plain(abort.code)"): (),
    ("net/channel.py", "code"): (),
    ("net/channel.py", "error.code"): (),
    ("net/link.py", "broken.code"): (),
    ("net/wire.py", "code"): (),
    ("party/chronicle.py", "f'no-such-{what}'"): tuple(f"no-such-{what}" for what in chronicle._LISTED),
    ("party/desk.py", "f'ledger-{receipt.code}'"): (),
    ("party/failures.py", "failed.code"): (),
    ("party/ledger.py", "f'ledger-{receipt.code}'"): (),
    ("party/office.py", "error.code"): (),
    ("serving/features/coded.py", "error.code"): (),
    ("party/rotation.py", "f'ledger-{receipt.code}'"): (),
    ("protocols/asking.py", "f'ledger-{reply.code}'"): (),
    ("serving/attendance.py", "refused.code"): (),
    ("serving/http/application.py", "error.code"): (),
}
"""Where a code is no literal: it is raised elsewhere and handed on, or made of what is listed here."""


@dataclass(frozen=True)
class Raised:
    """One code at one place; ``call`` holds the texts that go with it."""

    code: str
    family: str
    module: "Module"
    call: ast.Call

    @property
    def where(self) -> str:
        return f"{self.module.name}:{self.call.lineno}"


class Module:
    """A file of the source, with what its names mean."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(SOURCE).as_posix()
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.calls: list[tuple[str, ast.Call]] = []
        self.imported: dict[str, tuple[str, str]] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._walk()
        self.constants = {
            node.target.id: node.value
            for node in self.tree.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }

    def _walk(self) -> None:
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            if isinstance(node, ast.Call):
                self.calls.append((_name(node.func), node))
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.imported |= {each.asname or each.name: (node.module, each.name) for each in node.names}
            for child in ast.iter_child_nodes(node):
                if not isinstance(child, ast.expr_context | ast.operator):
                    self._parents[child] = node
                    waiting.append(child)

    def above(self, node: ast.AST, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
        """The nodes of a kind around a node, the innermost first."""
        while (node := self._parents.get(node)) is not None:
            if isinstance(node, kinds):
                yield node

    def texts(self, node: ast.AST) -> Iterator[str | ast.AST]:
        """The strings that an expression can be, and the parts of which that cannot be said."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.IfExp):
            yield from self.texts(node.body)
            yield from self.texts(node.orelse)
        elif isinstance(node, ast.BoolOp):
            for value in node.values:
                yield from self.texts(value)
        elif isinstance(node, ast.Name) and (meant := list(self._meant(node))):
            for value in meant:
                yield from self.texts(value)
        else:
            yield node

    def _meant(self, name: ast.Name) -> Iterator[ast.AST]:
        """What a name was given in its function, in its module, or in the one it comes from."""
        function = next(self.above(name, ast.FunctionDef, ast.AsyncFunctionDef), None)
        given = [] if function is None else list(_given(function, name.id))
        if given:
            yield from given
        elif name.id in self.constants:
            yield self.constants[name.id]
        elif name.id in self.imported:
            source, original = self.imported[name.id]
            other = modules().get(source.removeprefix("parley.").replace(".", "/") + ".py")
            if other is not None and original in other.constants:
                yield other.constants[original]


def _given(function: ast.AST, name: str) -> Iterator[ast.AST]:
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        (target,) = node.targets
        if isinstance(target, ast.Name) and target.id == name:
            yield node.value
        elif isinstance(target, ast.Tuple):
            for place, part in enumerate(target.elts):
                if isinstance(part, ast.Name) and part.id == name:
                    yield from _parts(node.value, place)


def _parts(value: ast.AST, place: int) -> Iterator[ast.AST]:
    if isinstance(value, ast.Tuple):
        yield value.elts[place]
    elif isinstance(value, ast.IfExp):
        yield from _parts(value.body, place)
        yield from _parts(value.orelse, place)


def _name(function: ast.AST) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


@cache
def modules() -> dict[str, Module]:
    """The source, by path."""
    return {module.name: module for module in map(Module, sorted(SOURCE.rglob("*.py")))}


def _code_of(module: Module, name: str, call: ast.Call) -> tuple[ast.AST, str, str] | None:
    """The expression of the code in a call, its family, and what comes before it; None if there is none."""
    if name == "Ending" and len(call.args) > 1:
        return call.args[1], KINDS[_name(call.args[0])].family, ""
    if name == "Problem" and module.name.startswith("cli/"):
        family = call.args[0]
        return call.args[1], family.value if isinstance(family, ast.Constant) else "", ""
    if name == "Finding" and module.name in _FINDING:
        return call.args[0], WARNING, ""
    if name == "__init__" and isinstance(call.func.value, ast.Call) and call.args:  # super().__init__(…)
        (base,) = next(module.above(call, ast.ClassDef)).bases or [None]
        kind = KINDS.get(_name(base))
        return None if kind is None or module.name == "core/errors.py" else (call.args[0], kind.family, "")
    # a wire's `refuse` is given what was raised as `Broken`; `_drop` as a method is another thing
    another = name in {"refuse", "_drop"} and isinstance(call.func, ast.Attribute)
    if name in _TAKING_A_CODE and call.args and not another:
        place, family, prefix = _TAKING_A_CODE[name]
        return call.args[place], family, prefix
    return None


@cache
def _found() -> tuple[tuple[Raised | None, Module, ast.AST], ...]:
    return tuple(_look())


def _look() -> Iterator[tuple[Raised | None, Module, ast.AST]]:
    for module in modules().values():
        for name, call in module.calls:
            taken = _code_of(module, name, call)
            if taken is None:
                continue
            expression, family, prefix = taken
            for text in module.texts(expression):
                if isinstance(text, str):
                    yield Raised(prefix + text, family, module, call), module, expression
                    continue
                yield None, module, text
                for code in PASSED_ON.get((module.name, ast.unparse(text)), ()):
                    yield Raised(code, family, module, call), module, expression


@cache
def raised() -> tuple[Raised, ...]:
    """Every code that can be raised, at every place."""
    return tuple(found for found, _, _ in _found() if found is not None)


def unread() -> set[tuple[str, str]]:
    """The expressions that a code is made of and that are no literals, by file."""
    return {(module.name, ast.unparse(node)) for found, module, node in _found() if found is None}


def families() -> dict[str, set[str]]:
    """With which families every code can be raised."""
    found = {f"ledger-{code}": {errors.PolicyRefused.family} for code in CODES}
    for each in raised():
        found.setdefault(each.code, set()).add(each.family)
    return found
