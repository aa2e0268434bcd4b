"""Files that orders need, on a machine's disk under their digests: each is sent once, however many orders need it."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from almaflow.errors import AlmaflowError
from almaflow.secrets import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from almaflow.records.order import Order

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Blobs:
    """The files below one directory."""

    root: Path

    def path(self, sha256: str) -> Path:
        """Return the place of a file by its digest.

        Raises:
            AlmaflowError: the digest is none, and might lead elsewhere.
        """
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            message = f"{sha256!r} is no digest of a file"
            raise AlmaflowError(message)
        return self.root / sha256

    def lacks(self, order: Order) -> list[str]:
        """Return the digests of files that the order needs and that are not here."""
        return sorted({blob.sha256 for blob in order.blobs.values() if not self.path(blob.sha256).exists()})

    def put(self, sha256: str, source: BinaryIO) -> None:
        """Keep a file under its digest.

        Raises:
            AlmaflowError: what came is another file.
        """
        place = self.path(sha256)
        self.root.mkdir(PRIVATE, parents=True, exist_ok=True)
        part, digest = place.with_name(f".{sha256}.{os.getpid()}.part"), hashlib.sha256()
        with part.open("wb") as stream:
            while block := source.read(_BLOCK):
                digest.update(block)
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        if digest.hexdigest() != sha256:
            part.unlink()
            message = f"the file {sha256[:12]} did not come as it was sent; send the order again"
            raise AlmaflowError(message)
        part.replace(place)

    def keep_those_of(self, orders: Iterable[Order]) -> None:
        """Remove the files that none of these orders needs."""
        needed = {blob.sha256 for order in orders for blob in order.blobs.values()}
        for path in self.root.glob("[0-9a-f]*"):
            if path.name not in needed:
                path.unlink(missing_ok=True)
