"""The documents, taken apart by a Markdown parser."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(sorted(str(file.relative_to(ROOT)) for file in (ROOT / "docs").rglob("*.md")))
DOCUMENTS = ("README.md", "CHANGELOG.md", *PAGES)
ANY = "…"
"""What documents write for the rest of a name."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document; ``title`` is the file that its reader makes of it."""

    document: str
    language: str
    title: str | None
    text: str


@cache
def tokens(document: str) -> tuple[Token, ...]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return tuple(MarkdownIt("commonmark").enable("table").parse(text))


def blocks(*languages: str) -> list[Block]:
    """Fenced blocks of these languages, or all."""
    found = []
    for document in DOCUMENTS:
        for token in tokens(document):
            if token.type == "fence":
                language, _, title = token.info.partition(" ")
                found.append(Block(document, language, title.removeprefix("title=") or None, token.content))
    return [block for block in found if not languages or block.language in languages]


def within(kind: str, *documents: str) -> Iterator[tuple[str, Token]]:
    """Tokens of a kind inside the text, with the document that they stand in."""
    for document in documents or DOCUMENTS:
        for token in tokens(document):
            yield from ((document, child) for child in token.children or () if child.type == kind)


def codes(*documents: str) -> list[str]:
    """What stands between backticks in the text, each once."""
    return list(dict.fromkeys(token.content for _, token in within("code_inline", *documents)))


def commands() -> list[tuple[str, ...]]:
    """The words of every line of the shell, without the program that only chooses the cores."""
    lines = chain.from_iterable(block.text.replace("\\\n", " ").splitlines() for block in blocks("bash"))
    parsed = [shlex.split(line, comments=True) for line in lines]
    return [tuple(words[3:] if words[:2] == ["taskset", "-c"] else words) for words in parsed if words]


def table(document: str, heading: str) -> list[list[str]]:
    """The rows below the first heading of a table, as text without backticks."""
    rows: list[list[str]] = []
    for before, token in pairwise(tokens(document)):
        if token.type == "tr_open":
            rows.append([])
        elif before.type in {"th_open", "td_open"}:
            rows[-1].append(token.content.replace("`", ""))
        elif token.type == "table_close":
            if rows[0][0] == heading:
                return rows[1:]
            rows = []
    message = f"{document} has no table of {heading}"
    raise LookupError(message)


def anchors(document: str) -> set[str]:
    """What GitHub makes of its headings, for links."""
    headings = [text.content for opened, text in pairwise(tokens(document)) if opened.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
