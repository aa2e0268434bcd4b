"""The ID of this machine in results: random, so that it names neither the machine nor its user."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress

from almaflow.errors import AlmaflowError
from almaflow.machine import home

_ID = re.compile(r"[0-9a-f]{12}")


def machine_id() -> str:
    """Return the ID, which is made at its first use and kept in almaflow's home.

    Raises:
        AlmaflowError: the file that keeps it holds something else.
    """
    place = home() / "machine_id"
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".machine_id.{os.getpid()}.part")
        part.write_text(secrets.token_hex(6) + "\n", encoding="utf-8")
        with suppress(FileExistsError):  # two processes at once: the first one's stays
            os.link(part, place)
        part.unlink(missing_ok=True)
    text = place.read_text(encoding="utf-8").strip()
    if not _ID.fullmatch(text):
        message = f"{place} does not hold the ID of a machine: delete it, and another one is made"
        raise AlmaflowError(message)
    return text
