"""Names and messages that others chose are shown as text: in Markdown, HTML, pictures and on a terminal."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt
from rich.table import Table
from tests.support.example_jobs import failed, job, ok
from tests.support.scored_runs import nights

from almaflow.accuracy.summary import series_of
from almaflow.analysis import analyse, to_output
from almaflow.report.accuracy.page import page
from almaflow.report.console import PlainConsole
from almaflow.report.html_page import document
from almaflow.report.markdown import code, escaped, markdown_table, summary_markdown
from almaflow.report.pictures import label

if TYPE_CHECKING:
    from markdown_it.token import Token

NASTY = (
    "![t](http://h/x.png) [x](javascript:alert) **bold** _em_ `code` <img src=x> <http://h> http://h/y ~~no~~ a|b \\ *"
)


def tokens(text: str) -> list[Token]:
    parsed = MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text)
    return [inner for token in parsed for inner in (token.children or [token])]


def words(text: str) -> str:
    return "".join(token.content for token in tokens(text) if token.type in {"text", "text_special"})


@pytest.mark.parametrize(
    "text", [NASTY, "# no heading", "- no item", "1. no item", "> no quotation", "===", "***", "+ a"]
)
def test_a_line_of_markdown_is_only_text(text: str) -> None:
    kinds = {token.type for token in tokens(escaped(text))}
    assert kinds <= {"paragraph_open", "paragraph_close", "text", "text_special"}
    assert words(escaped(text)) == text


def test_the_note_of_a_job_has_no_links_or_pictures_of_others() -> None:
    made = replace(job(ok("EAGER", 20.0), failed("JIT_TRACE", message=NASTY)), environment={"cpu": NASTY})
    made = replace(made, model=replace(made.model, name=NASTY))
    text = summary_markdown(made, analyse(made))
    kinds = {token.type for token in tokens(text)}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "em_open", "s_open"}
    assert "javascript" in text


def test_a_name_cannot_end_the_code_or_the_cell_that_it_is_in() -> None:
    found = tokens(markdown_table(("a", NASTY), [(code("x` ![t](http://h) | y"), "z")]))
    assert [token.content for token in found if token.type == "code_inline"] == ["x' ![t](http://h) / y"]
    assert sum(token.type in {"td_open", "th_open"} for token in found) == 4
    assert not {token.type for token in found} & {"link_open", "image"}


@pytest.mark.parametrize("name", [r"$\frac{a$", "a $x$ b", "$$", r"\$a$", "a\x1bb"])
def test_pictures_draw_every_name_as_text(name: str) -> None:
    series = series_of([replace(each, model=name, hardware=name) for each in nights(8)])
    text = page(series, "floor")
    drawn = text.split("<svg")[1:]
    assert len(drawn) >= 3
    for each in drawn:
        ET.fromstring("<svg" + each.split("</svg>")[0] + "</svg>")  # noqa: S314 - our own
    shown = name.replace("\x1b", "\ufffd").replace(r"\$", "$")
    assert shown in text


def test_a_picture_of_a_job_draws_conversions_as_text() -> None:
    made = job(ok("A$^$B", 20.0), ok("</svg><script>$", 10.0))
    text = document("t", [to_output(made)])
    assert "A$^$B" in text
    assert "<script>" not in text
    assert label("a$b") == r"a\$b"


def test_a_terminal_shows_names_as_they_are_and_obeys_none() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=80, color_system=None)
    table = Table("[red]head", box=None)
    table.add_row("[/] :smile: \x1b]0;title\x07 [bold]b\u202e")
    console.print(table)
    console.print("[red]line[/] \x1b[2J")
    shown = out.getvalue()
    assert "[red]head" in shown
    assert "[/] :smile: \ufffd]0;title" in shown
    assert "[red]line[/] \ufffd[2J" in shown
    assert not set("\x1b\x07\u202e") & set(shown)


def test_a_file_gets_no_blanks_at_the_ends_of_lines() -> None:
    out = io.StringIO()
    console = PlainConsole(file=out, width=40)
    table = Table("name", "figure", box=None)
    table.add_row("a", "1")
    table.add_row("long", "1000000")
    console.print(table)
    console.print("a line   ")
    assert out.getvalue()
    assert [line for line in out.getvalue().splitlines() if line != line.rstrip()] == []
