"""Tables: an owner's commitment to a data set. Rows never come here, nor do their exact number or columns."""

from typing import Literal

from parley.ledger.contract.fields import Digest, Height, Name, RowBucket
from parley.ledger.contract.refusal import refuse
from parley.ledger.contract.rule import HOLDER, NOT_REMOVED, Act, Body, Rule
from parley.ledger.contract.state import Draft, Record


class Table(Record, frozen=True):
    """A registered table.

    Attributes:
        owner: the member that has it.
        name: the owner's name for it.
        schema: digest of its columns and their types.
        rows: bucket of its number of rows.
        root: salted Merkle root over its rows.
        status: a withdrawn table enters no run; its owner may register the name anew.
        height: of the last change.
    """

    PATH = "table/<owner>/<name>"

    owner: str
    name: str
    schema: str
    rows: int
    root: str
    status: Literal["registered", "withdrawn"]
    height: Height


class Register(Body, frozen=True):
    """Commit to a table of one's own; the fields are those of `Table`."""

    name: Name
    schema: Digest
    rows: RowBucket
    root: Digest


class Withdraw(Body, frozen=True):
    """Take a table of one's own out of use."""

    name: Name


def register(act: Act[Register]) -> None:
    """Enter a table, or a withdrawn name with what it stands for now."""
    body, owner = act.body, act.sender.name
    if is_registered(act.draft, owner, body.name):
        refuse("table-known", f"{owner}/{body.name}")
    table = Table(
        owner=owner,
        name=body.name,
        schema=body.schema,
        rows=body.rows,
        root=body.root,
        status="registered",
        height=act.height,
    )
    act.draft.put(table_path(owner, body.name), table)


def withdraw(act: Act[Withdraw]) -> None:
    """Mark a table as withdrawn."""
    path = table_path(act.sender.name, act.body.name)
    table = act.draft.find(Table, path)
    if table is None or table.status != "registered":
        refuse("table-unknown", f"{act.sender.name}/{act.body.name}")
    act.draft.put(path, table.but(status="withdrawn", height=act.height))


def is_registered(draft: Draft, owner: str, name: str) -> bool:
    """Whether the table is in use."""
    table = draft.find(Table, table_path(owner, name))
    return table is not None and table.status == "registered"


def table_path(owner: str, name: str) -> str:
    """Where a table stands."""
    return f"table/{owner}/{name}"


RULES = (
    Rule("table.register", Register, register, roles=HOLDER),
    Rule("table.withdraw", Withdraw, withdraw, standing=NOT_REMOVED),
)
