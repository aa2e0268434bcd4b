"""The reason for a child's end."""

from __future__ import annotations

import os
import re
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from almaflow.processes.logs import KEPT, LONGEST_LOG, REASON_LENGTH, BoundedLog, last_line, reason_of

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


def test_a_log_keeps_its_beginning_and_its_end_however_much_is_printed(tmp_path: Path) -> None:
    path, printed = tmp_path / "log", 0
    with closing(BoundedLog(path)) as log:
        child = os.dup(log.descriptor)
        for number in range(12):
            printed += os.write(child, f"part {number} begins".encode() + b"." * 900_000 + b"and ends\n")
            log.trim()
            assert path.stat().st_size <= LONGEST_LOG + 1000
        os.close(child)
    kept = path.read_bytes()
    line = re.search(rb"\n\[almaflow: (\d+) bytes cut out here, of a log that grew too long\]\n", kept)
    assert line
    assert line.start() == KEPT
    assert len(kept) - len(line[0]) + int(line[1]) == printed
    assert kept.startswith(b"part 0 begins..")
    assert b"part 11 begins.." in kept
    assert kept.endswith(b"..and ends\n")


def test_a_log_of_ordinary_length_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier process")
    with closing(BoundedLog(tmp_path / "log")) as log:
        os.write(log.descriptor, b"all of it\n")
    log.close()
    assert (tmp_path / "log").read_text() == "all of it\n"


def test_a_log_is_cut_where_it_is_and_not_where_somebody_has_put_another_file(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x" * (LONGEST_LOG + 1))
    with closing(BoundedLog(tmp_path / "log")) as log:
        os.write(log.descriptor, b"x" * (LONGEST_LOG + 1))
        (tmp_path / "log").unlink()
        (tmp_path / "log").symlink_to(tmp_path / "precious")
    assert (tmp_path / "precious").stat().st_size == LONGEST_LOG + 1


def test_the_last_line_of_a_long_log_is_found_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.truncate(10**12)  # more than there is memory, and nothing on disk
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert last_line(path) == "the end"
