"""Files that orders need, on the head's disk: coordinators send each once, and machines fetch them from there."""

from __future__ import annotations

import hashlib
import io
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from almaflow.errors import AlmaflowError
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CHUNK = 4 << 20
"""Bytes in one call."""
KEPT_S = 7 * 86_400
"""Seconds that a file stays which nobody has asked for."""


class BlobStore:
    """Files below one directory, by their digests."""

    def __init__(self, root: Path) -> None:
        """Remove what nobody has asked for in a week."""
        self._root = root
        self._lock = threading.Lock()  # several users may send one file
        for path in root.glob("*"):
            if time.time() - path.stat().st_mtime > KEPT_S:
                path.unlink(missing_ok=True)

    def size(self, sha256: str) -> int:
        """Return how many bytes of a file are here."""
        whole, part = self._places(sha256)
        return next((path.stat().st_size for path in (whole, part) if path.exists()), 0)

    def is_whole(self, sha256: str) -> bool:
        """Whether a file is here to its end, and is what its digest says."""
        return self._places(sha256)[0].exists()

    def append(self, sha256: str, offset: int, data: bytes, size: int) -> None:
        """Keep the next bytes of a file; bytes that are here already change nothing.

        Raises:
            AlmaflowError: it is complete, and another file.
        """
        with self._lock:
            self._append(sha256, offset, data, size)

    def _append(self, sha256: str, offset: int, data: bytes, size: int) -> None:
        whole, part = self._places(sha256)
        self._root.mkdir(PRIVATE, parents=True, exist_ok=True)
        if whole.exists() or self.size(sha256) != offset:
            return  # somebody else sends it too
        with part.open("ab") as stream:
            stream.write(data)
        if part.stat().st_size < size:
            return
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != sha256:
            part.unlink()
            message = f"the file {sha256[:12]} changed while it was sent: send the order again"
            raise AlmaflowError(message)
        part.replace(whole)

    def read(self, sha256: str, offset: int) -> bytes:
        """Return the next bytes of a file; none at its end.

        Raises:
            AlmaflowError: it is not here whole.
        """
        whole, _ = self._places(sha256)
        if not whole.exists():
            message = f"the file {sha256[:12]} is not on the head: send the order again"
            raise AlmaflowError(message)
        whole.touch()
        with whole.open("rb") as stream:
            stream.seek(offset)
            return stream.read(CHUNK)

    def _places(self, sha256: str) -> tuple[Path, Path]:
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            message = f"{sha256!r} is no digest of a file"
            raise AlmaflowError(message)
        return self._root / sha256, self._root / f".{sha256}.part"


class ChunkReader(io.RawIOBase):
    """A file that is read by calls, each of which returns the bytes from an offset on."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        """Read nothing yet."""
        self._read = read
        self._offset = 0
        self._left = b""

    def readable(self) -> bool:  # what RawIOBase asks for
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._read(self._offset)
            self._offset += len(self._left)
        taken = self._left[: len(buffer)]
        self._left = self._left[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)
