"""A home for what belongs to the machine and to no test: it is made once for all processes of a run of the tests."""

from __future__ import annotations

import os
from pathlib import Path

from almaflow.secrets import PRIVATE

SHARED_HOME = "ALMAFLOW_TESTS_SHARED_HOME"
"""Environment variable with its path, which ``conftest.py`` sets."""


def shared_home() -> Path:
    """The directory; it is almaflow's home where workers are started without a job."""
    return Path(os.environ[SHARED_HOME])


def share_toolchain(home: Path) -> None:
    """Let jobs in this home know what inductor found out about the C++ compiler for others.

    To find it out takes ten seconds of a processor. ``tests/worker/test_toolchain.py`` does so in homes of its own.
    """
    shared = shared_home() / "toolchain"
    shared.mkdir(PRIVATE, exist_ok=True)
    home.mkdir(parents=True, exist_ok=True)
    (home / "toolchain").symlink_to(shared)
