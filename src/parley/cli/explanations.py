"""What is known of every error code, read from the pages in ``parley/explanations/``.

One Markdown file per code, written by hand. They lie inside the package, so a wheel, an editable installation
and the source tree have the very same ones, and nothing has to be built or fetched to read them. The list in
``docs/errors/README.md`` is made from them by ``docs/write_errors.py``. Every page has this form, the last
two headings only where there is something to say::

    # table-changed

    Family: `usage` (exit code 2)

    What it means, in a paragraph.

    ## How it comes about

    - …

    ## What to do

    - …

    ## What the peer sees

    A paragraph.

    ## Related

    [`run-over`](run-over.md), …

A refusal of the ledger's contract has the page of the error that it becomes: ``ledger-`` and its own code.
"""

import difflib
import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Final

import msgspec

from parley.core.errors import UsageError

CAUSES: Final = "How it comes about"
REMEDIES: Final = "What to do"
PEER: Final = "What the peer sees"
RELATED: Final = "Related"
HEADINGS: Final = (CAUSES, REMEDIES, PEER, RELATED)

_FOLDER: Final = files("parley") / "explanations"
_CODE: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_SENTENCE: Final = re.compile(r"(?<=[.:]) (?=[A-Z`])")
_NEAREST: Final = 3
_PREFIXES: Final = ("", "ledger-", "dropped-")
"""What stands before the ledger's own code of a refusal when it is raised as an error."""


class Explanation(msgspec.Struct, frozen=True):
    """A page.

    Attributes:
        code: of the error.
        families: with which it is raised; ``warning`` for what a look at a table finds.
        meaning: a paragraph; like all texts here Markdown, in which only code is marked.
        causes: how it usually comes about.
        remedies: what can be done, the first thing first.
        peer: what a peer is told; empty where that does not matter.
        related: other codes.
    """

    code: str
    families: tuple[str, ...]
    meaning: str
    causes: tuple[str, ...]
    remedies: tuple[str, ...]
    peer: str
    related: tuple[str, ...]

    @property
    def gist(self) -> str:
        """The first sentence of what it means."""
        return _SENTENCE.split(self.meaning, maxsplit=1)[0]


def codes() -> list[str]:
    """Every code that has a page, in order."""
    names = (page.name for page in _FOLDER.iterdir())
    return sorted(name.removesuffix(".md") for name in names if name.endswith(".md"))


def is_explained(code: str) -> bool:
    """Whether a code, such as one that a peer gave, has a page."""
    return _CODE.fullmatch(code) is not None and (_FOLDER / f"{code}.md").is_file()


def explain(code: str) -> Explanation:
    """The page of a code; also by the code that a receipt of the ledger shows.

    Raises:
        UsageError: there is none; names the nearest codes.
    """
    for prefix in _PREFIXES:
        if is_explained(prefix + code):
            return parse((_FOLDER / f"{prefix}{code}.md").read_text(encoding="utf-8"))
    near = difflib.get_close_matches(code, codes(), _NEAREST)
    raise UsageError(
        "unknown-code",
        f"no error has the code {code[:64]!r}",
        remedy=f"did you mean {' or '.join(near)}?" if near else "see the list of `parley explain`",
    )


def parse(text: str) -> Explanation:
    """Read a page.

    Raises:
        ValueError: it does not have the form above.
    """
    head, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    title, family, meaning = (paragraph.strip() for paragraph in head.strip().split("\n\n"))
    found = dict(section.split("\n\n", 1) for section in sections)
    if list(found) != [each for each in HEADINGS if each in found] or not {CAUSES, REMEDIES} <= set(found):
        raise ValueError(f"{title}: unexpected headings {list(found)}")
    return Explanation(
        title.removeprefix("# "),
        tuple(re.findall(r"`([a-z-]+)`", family.removeprefix("Family: "))),
        _line(meaning),
        tuple(_items(found[CAUSES])),
        tuple(_items(found[REMEDIES])),
        _line(found.get(PEER, "")),
        tuple(re.findall(r"\[`([a-z0-9-]+)`\]", found.get(RELATED, ""))),
    )


def _items(text: str) -> Iterator[str]:
    return (_line(item) for item in re.split(r"^- ", text, flags=re.MULTILINE)[1:])


def _line(text: str) -> str:
    return " ".join(text.split())
