"""The reason for a child's end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from almaflow.processes.logs import REASON_LENGTH, last_line, reason_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "line"), [("", ""), (" \n\n", ""), ("a\n b \n \n", "b"), ("x" * 999, "x" * REASON_LENGTH)]
)
def test_the_last_line_is_the_last_that_says_something(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(text.encode())
    assert last_line(tmp_path / "log") == last_line(text) == line


@pytest.mark.parametrize(
    ("code", "log", "reason"),
    [
        (1, "ValueError: no", "ValueError: no"),
        (2, "resnet7 is no model", "resnet7 is no model"),
        (1, "", "its process ended with 1"),
        (-9, "a warning", "its process ended with -9: a warning"),
        (None, "a warning", "its process has closed its output: a warning"),
    ],
)
def test_a_last_line_is_the_reason_only_where_the_exit_code_says_so(code: int | None, log: str, reason: str) -> None:
    assert reason_of(code, log) == reason
