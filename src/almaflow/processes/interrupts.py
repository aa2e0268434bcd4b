"""Ctrl-C, SIGTERM and SIGHUP end a worker, never the writing of what was measured."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

HEARD = b"almaflow: interrupted: what is being written is finished first; once more ends it at once\n"
"""What is said of an interrupt that has to wait."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes where the terminal is closed or the connection to it is lost."""


@contextmanager
def as_interrupts(*numbers: signal.Signals) -> Iterator[None]:
    """Let these signals interrupt the block as Ctrl-C does, but leave an ignored one ignored, as ``nohup`` wants.

    Only the main thread may handle signals: elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, signal.default_int_handler) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interrupts:
    """Turns these signals into one ``KeyboardInterrupt``, raised only within ``let_through``.

    One that comes at another time waits for the next ``let_through`` or for the end; a second one does not wait, so
    that a user gets out of a store that does not answer. Only the main thread may handle signals: elsewhere this does
    nothing.
    """

    def __init__(self) -> None:
        """Leave the signals alone until the block begins."""
        self._waiting = False
        self._open = False
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __enter__(self) -> Self:
        """Take over the signals, but leave an ignored one ignored, as it is for a job in the background."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the signals back, and raise what still waits."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._waiting and kind is None:
            raise KeyboardInterrupt

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._open or self._waiting:
            self._open = self._waiting = False
            raise KeyboardInterrupt
        self._waiting = True
        with suppress(OSError):  # the terminal is gone
            os.write(2, HEARD)  # not through a stream, which this signal may have interrupted within a write

    def take(self) -> bool:
        """Whether an interrupt waits; it waits no more then."""
        waiting, self._waiting = self._waiting, False
        return waiting

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Raise what has waited, and whatever comes before the end of the block.

        Raises:
            KeyboardInterrupt: the user or a signal interrupted.
        """
        if self.take():
            raise KeyboardInterrupt
        self._open = True
        try:
            yield
        finally:
            self._open = False
