"""Receive the parent's requests for rounds, which come over standard input."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time

from almaflow.records.protocol import RoundRequest, asks_to_keep, read_request

PARENT_CHECK_INTERVAL_S = 1.0


class TurnInbox:
    """An inbox of the parent's requests. The process ends when standard input closes, since the parent is gone then."""

    keep = False
    """Whether the converted model is to be written; known once ``next`` has given None."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[RoundRequest | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(os.getppid(),), daemon=True, name="parent-watch").start()

    def next(self) -> RoundRequest | None:
        """Wait for the next request and return it; None means to finish."""
        return self._waiting.get()

    def _listen(self, parent: int) -> None:
        rest = b""
        try:
            while data := os.read(0, 1024):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self.keep = asks_to_keep(line)
                    self._waiting.put(read_request(line))
        except OSError:  # closed by converted code: no request can come any more
            self._waiting.put(None)
            while os.getppid() == parent:
                time.sleep(PARENT_CHECK_INTERVAL_S)
        if os.getpgrp() == os.getpid():  # the leader of a session of its own, as the launcher starts it
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
