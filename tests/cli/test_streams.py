"""Readers of a command's output may go away, and a disk that the output goes to may be full."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from contextlib import closing
from typing import IO, TYPE_CHECKING

import pytest

from almaflow.cli.streams import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMAND = [sys.executable, "-c", "import sys; from almaflow.cli import main; main(sys.argv[1:])"]


@pytest.fixture
def unread() -> Iterator[int]:
    """The writing end of a pipe whose reader has gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    yield write_end
    os.close(write_end)


def test_what_nobody_reads_is_dropped_without_a_word(unread: int, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(Sink(unread, "w", closefd=False)) as sink:
        assert [sink.write(b"x" * 5) for _ in range(3)] == [5, 5, 5]
        assert sink.full is None
    os.write(unread, b"what a library in C prints there is dropped too")
    assert capfd.readouterr().err == ""


def test_what_a_full_disk_loses_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with closing(Sink(descriptor, "w", closefd=False)) as sink:
        assert [sink.write(memoryview(b"x" * 5)) for _ in range(3)] == [5, 5, 5]
        assert sink.full is not None
        assert sink.full.errno == errno.ENOSPC
    os.close(descriptor)
    said = "almaflow: output cannot be written (No space left on device): the rest of it is dropped\n"
    assert capfd.readouterr().err == said


def test_what_is_read_arrives() -> None:
    read_end, write_end = os.pipe()
    with closing(Sink(write_end, "w", closefd=False)) as sink:
        sink.write(b"all of it")
    assert os.read(read_end, 100) == b"all of it"
    for descriptor in (read_end, write_end):
        os.close(descriptor)


def run(stdout: int | IO[bytes]) -> tuple[int, str]:
    done = subprocess.run([*COMMAND, "--help"], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


def test_a_command_whose_output_nobody_reads_ends_as_it_would(unread: int) -> None:
    assert run(unread) == (0, "")


def test_a_command_whose_output_is_lost_has_not_done_what_it_was_to_do() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        code, said = run(full)
    assert code == 1
    assert said.splitlines() == [
        "almaflow: output cannot be written (No space left on device): the rest of it is dropped"
    ]


def test_a_command_opens_what_it_was_started_without() -> None:
    code = "import os; os.closerange(0, 3); from almaflow.cli import main; main(['--version'])"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
