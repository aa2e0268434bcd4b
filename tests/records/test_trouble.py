"""The machine's own trouble is known by its number, in a text and in an exit code."""

from __future__ import annotations

import errno
import os
import signal

import pytest

from almaflow.records.trouble import ADVICE, advised, exit_code, number_in, number_of


@pytest.mark.parametrize("number", ADVICE)
def test_a_number_comes_through_an_exit_code_that_nothing_else_has(number: int) -> None:
    code = exit_code(number)
    assert number_of(code) == number
    assert 128 + max(signal.Signals) < code < 256


@pytest.mark.parametrize("number", [None, 0, errno.EACCES])
def test_another_error_is_none_of_the_machines(number: int | None) -> None:
    assert exit_code(number) == 1
    assert advised("it broke", number) == "it broke"


@pytest.mark.parametrize("code", [0, 1, 2, 137, -9])
def test_another_exit_code_is_no_number(code: int) -> None:
    assert number_of(code) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("RuntimeError: [Errno 28] No space left on device: '/x'", errno.ENOSPC),
        ("what():  write failed: NO SPACE LEFT ON DEVICE", errno.ENOSPC),
        (os.strerror(errno.EMFILE), errno.EMFILE),
        (os.strerror(errno.ENFILE), errno.ENFILE),
        ("RuntimeError: can't start new thread", errno.EAGAIN),
        ("std::system_error: Resource temporarily unavailable", errno.EAGAIN),
        ("FileNotFoundError: [Errno 2] No such file or directory: 'labels.txt'", None),
        ("too many values to unpack", None),
    ],
)
def test_a_text_tells_it(text: str, number: int | None) -> None:
    assert number_in(text) == number


def test_what_to_do_is_in_the_same_line() -> None:
    assert advised("the disk is full", errno.ENOSPC) == ("the disk is full; free some space and go on with resume=true")
