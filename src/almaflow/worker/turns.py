"""What the parent asks of a worker, as it comes over standard input."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time

from almaflow.records.protocol import RoundRequest, read_request

PARENT_LOOK_S = 1.0


class TurnInbox:
    """What the parent asks for, as it comes over standard input; when that closes the parent is gone, and we go too."""

    def __init__(self) -> None:
        """Listen in a thread, which sleeps until something comes."""
        self._waiting: queue.SimpleQueue[RoundRequest | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, args=(os.getppid(),), daemon=True, name="parent-watch").start()

    def next(self) -> RoundRequest | None:
        """Wait for the next turn; None asks to finish."""
        return self._waiting.get()

    def _listen(self, parent: int) -> None:
        rest = b""
        try:
            while data := os.read(0, 1024):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._waiting.put(read_request(line))
        except OSError:  # closed by converted code: nobody can ask for anything any more
            self._waiting.put(None)
            while os.getppid() == parent:
                time.sleep(PARENT_LOOK_S)
        if os.getpgrp() == os.getpid():  # the leader of a session of its own, as the launcher starts it
            os.killpg(0, signal.SIGKILL)
        os._exit(1)
