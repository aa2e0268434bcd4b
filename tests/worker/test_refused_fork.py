"""A system that refuses to fork costs the worker that was asked for, and not those that there are."""

from __future__ import annotations

import errno
import json
import os
import socket
from typing import TYPE_CHECKING

from almaflow.records.protocol import MESSAGE_BYTES
from almaflow.worker import fork_server

if TYPE_CHECKING:
    import pytest


def test_the_parent_is_told_the_error_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    alive = {4711}
    with ours, theirs:
        assert fork_server._fork(theirs, alive) is None
        assert json.loads(ours.recv(MESSAGE_BYTES)) == {"refused": errno.EAGAIN}
    assert alive == {4711}
