"""What a query may be: one SELECT, as the database that runs it would read it.

Where a quotation or a comment ends differs between databases. What one of them might take for words
counts as words here, so a query is rather refused than taken for more harmless than it is. Databases
are opened read-only besides; this keeps a query from ending that, and from what reading allows there:
writing a file at the server, reading one, taking locks.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, Literal

from parley.core.errors import UsageError

Dialect = Literal["standard", "mysql"]
"""How a query is written: SQLite and PostgreSQL alike, or as MySQL and MariaDB have it."""

_STANDARD: Final = re.compile(
    r"'(?:[^']|'')*'"
    r'|"(?:[^"]|"")*"'
    r"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$"
    r"|--[^\n]*"
    r"|/\*.*?\*/",
    re.DOTALL,
)
_MYSQL_COMMENTS: Final = r"|#[^\n]*|--(?=[\s\x00-\x1f]|\Z)[^\n]*|/\*(?!M?!).*?\*/"
_MYSQL: Final = tuple(
    re.compile(rf"'(?:{body}|[^'])*'|\"(?:{body}|[^\"])*\"|`(?:[^`]|``)*`{_MYSQL_COMMENTS}", re.DOTALL)
    for body in (r"\\.", r"(?!)")
)
"""With a backslash that escapes, and with one that does not: the server's sql_mode decides."""
_UNCLOSED: Final = re.compile(r"""['"`]|/\*""")
"""What is left over of a quotation that has no end, and of comments that MySQL executes."""
_BEYOND_READING: Final = re.compile(
    r"\b(into|for\s+(update|share)|lock\s+in\s+share\s+mode)\b", re.IGNORECASE
)
_SERVER_FILES: Final = re.compile(r"\bload_file\b", re.IGNORECASE)
_PARAMETER: Final = re.compile(r":([A-Za-z_]\w*)")
_CAST: Final = re.compile(r"::")
_ORDERED: Final = re.compile(r"\border\s+by\b", re.IGNORECASE)


def check_query(query: str, dialect: Dialect = "standard") -> None:
    """Refuse anything but a single SELECT that only reads rows.

    In MySQL's dialect also: comments that are executed (``/*! … */``), INTO, whether a file or a variable,
    the function LOAD_FILE, and locking clauses.

    Raises:
        UsageError: ``sql-not-select``.

    """
    for bare in _readings(query, dialect):
        words = bare.strip().rstrip(";").split(None, 1)
        if not words or words[0].lower() not in {"select", "with"} or ";" in bare.strip().rstrip(";"):
            raise _refused("the query of a table must be one SELECT statement")
        if dialect == "mysql" and _UNCLOSED.search(bare):
            raise _refused("the query holds a comment that MySQL executes, or a quotation without an end")
        if dialect == "mysql" and (found := _BEYOND_READING.search(bare)):
            raise _refused(f"the query does more than read rows: {' '.join(found[0].upper().split())}")
    if dialect == "mysql" and _SERVER_FILES.search(query):
        raise _refused("the query names LOAD_FILE, which reads files of the server")


def narrowed(query: str, columns: Sequence[str], dialect: Dialect = "standard") -> str | None:
    """The query for some of its columns; nothing if rows might then come in another order.

    A database need not keep the order of a query within a query, so one with ORDER BY is left as it is.
    """
    if any(_ORDERED.search(bare) for bare in _readings(query, dialect)):
        return None
    mark = "`" if dialect == "mysql" else '"'
    names = ", ".join(mark + name.replace(mark, mark * 2) + mark for name in columns)
    return f"SELECT {names} FROM (\n{plain(query)}\n) AS parley_rows"  # noqa: S608 (the query is the owner's)


def parts_by_parameter(query: str, dialect: Dialect = "standard") -> tuple[str, ...]:
    """A query cut at its parameters: text, parameter, text, …; a parameter is ``:`` and a name.

    What stands in quotations and comments is text, and so are the casts of PostgreSQL (``::``).

    Raises:
        UsageError: ``sql-not-select``: in MySQL's dialect it depends on the server's sql_mode what is one.

    """
    patterns = (_STANDARD,) if dialect == "standard" else _MYSQL
    found = {tuple(_cut(query, pattern)) for pattern in patterns}
    if len(found) > 1:
        raise _refused("where parameters of the query stand depends on what a backslash means in quotations")
    return found.pop()


def _cut(query: str, quoted: re.Pattern[str]) -> Iterator[str]:
    begin = place = 0
    while place < len(query):
        if skipped := quoted.match(query, place) or _CAST.match(query, place):
            place = skipped.end()
        elif found := _PARAMETER.match(query, place):
            yield query[begin:place]
            yield found[1]
            begin = place = found.end()
        else:
            place += 1
    yield query[begin:]


def plain(query: str) -> str:
    """The query without a semicolon at its end."""
    return query.strip().rstrip(";")


def _readings(query: str, dialect: Dialect) -> Iterator[str]:
    """The query without quotations and comments, in every way that it may be read."""
    for quoted in (_STANDARD,) if dialect == "standard" else _MYSQL:
        yield quoted.sub(" ", query)


def _refused(what: str) -> UsageError:
    return UsageError(
        "sql-not-select",
        what,
        remedy="write one query that begins with SELECT or WITH; views can hold what is more involved",
    )
