"""Standard output and error of a command, whose readers may go away: ``head``, a log collector, a terminal."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Any

GONE = {errno.EPIPE, errno.EIO, errno.ECONNRESET}
"""Error numbers of a pipe, a terminal and a socket that nobody reads any more."""


class Sink(io.FileIO):
    """The end of a standard stream, which never fails: what cannot be written any more is dropped.

    A job that cannot show how far it is goes on all the same, and so does one whose table nobody reads.
    """

    full: OSError | None = None
    """The error where what was written got lost although somebody wanted it, as on a full disk."""

    def write(self, data: Any, /) -> int:
        """Write, or drop the stream for good."""
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in GONE:
                self.full = error
                said = f"almaflow: output cannot be written ({error.strerror}): the rest of it is dropped\n"
                with suppress(OSError):
                    os.write(2, said.encode())
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, self.fileno())
            os.close(nothing)
            return memoryview(data).nbytes


def drop_lost_readers() -> Sink | None:
    """Let both standard streams of this process drop what nobody reads, and return the end of standard output.

    Streams that somebody has put in their place, as tests do, are left alone: None for such an output.
    """
    _open_closed_ones()
    ends = {}
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream, own = getattr(sys, name), getattr(sys, f"__{name}__")
        if stream is not own:
            continue
        ends[name] = Sink(descriptor, "w", closefd=False)
        settings: dict[str, Any] = {"encoding": "utf-8"}
        if stream is not None:
            stream.flush()
            settings = {key: getattr(stream, key) for key in ("encoding", "errors", "line_buffering", "write_through")}
        setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(ends[name]), **settings))
    return ends.get("stdout")


def _open_closed_ones() -> None:
    """Open the standard descriptors that are closed, or the next file that is opened would be printed into."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 - standard error
        os.set_inheritable(descriptor, True)  # noqa: FBT003 - positional only
    os.close(descriptor)
