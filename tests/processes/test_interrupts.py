"""Ctrl-C, SIGTERM and SIGHUP stop a worker at once, and wait while results are written."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from almaflow.processes.interrupts import SIGNALS, Interrupts, as_interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """As a shell starts a command in the foreground; afterwards as it was."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_it_is_raised_at_once_where_it_is_let_through(number: signal.Signals) -> None:
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt), interrupts.let_through():
            send(number)
        assert not interrupts.take()


def test_one_that_waits_is_told_that_it_was_heard(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupts() as interrupts:
        send(signal.SIGINT)
        assert capfd.readouterr().err.endswith("once more ends it at once\n")
        assert interrupts.take()
        with pytest.raises(KeyboardInterrupt), interrupts.let_through():
            send(signal.SIGINT)
        assert capfd.readouterr().err == ""  # it is over at once


@pytest.mark.parametrize("number", SIGNALS)
def test_it_waits_for_the_next_place_where_it_is_let_through(number: signal.Signals) -> None:
    with Interrupts() as interrupts:
        send(number)
        entered = False
        with pytest.raises(KeyboardInterrupt), interrupts.let_through():
            entered = True
        assert not entered
        with interrupts.let_through():
            pass  # once is enough


def test_it_is_not_lost_at_the_end() -> None:
    with pytest.raises(KeyboardInterrupt), Interrupts():
        send(signal.SIGTERM)


def test_one_that_was_taken_note_of_is_not_raised() -> None:
    with Interrupts() as interrupts:
        assert not interrupts.take()
        send(signal.SIGINT)
        assert interrupts.take()
        assert not interrupts.take()


def test_the_second_one_does_not_wait() -> None:
    with Interrupts():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_another_error_is_not_hidden_by_one_that_waits() -> None:
    def fail() -> None:
        send(signal.SIGINT)
        raise ArithmeticError

    with pytest.raises(ArithmeticError), Interrupts():
        fail()


def test_the_handlers_come_back_and_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts() as interrupts:
        assert signal.getsignal(signal.SIGTERM) is not signal.default_int_handler
        with interrupts.let_through():
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler


def test_a_closed_terminal_interrupts_and_under_nohup_it_does_not() -> None:
    with pytest.raises(KeyboardInterrupt), as_interrupts(signal.SIGHUP):
        send(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup leaves it
    with as_interrupts(signal.SIGHUP), Interrupts() as interrupts, interrupts.let_through():
        send(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_elsewhere_than_in_the_main_thread_signals_stay_as_they_are() -> None:
    seen: list[object] = []

    def job() -> None:
        with Interrupts() as interrupts, interrupts.let_through():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=job)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
