"""Options that many commands have."""

from pathlib import Path
from typing import Annotated, Final

import typer
from typer.core import TyperGroup

DEFAULT_HOME: Final = Path("parley-home")

HomeOption = Annotated[
    Path, typer.Option("--home", envvar="PARLEY_HOME", metavar="DIR", help="Home folder of the party.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else there.")
]


def group(text: str, cls: type[TyperGroup] = TyperGroup) -> typer.Typer:
    """A group of commands with plain help texts."""
    return typer.Typer(
        help=text,
        cls=cls,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
    )


def names(text: str | None) -> tuple[str, ...]:
    """Names that were written with commas between them."""
    return tuple(name for name in (part.strip() for part in (text or "").split(",")) if name)
