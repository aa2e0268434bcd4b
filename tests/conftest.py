"""What every test gets: a home of its own, so that none touches the user's store. And what several files ask for."""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tests.support.shared_home import SHARED_HOME, share_toolchain

from almaflow.machine.lock import NAME_FOR_TESTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.commands import Zygote
    from tests.support.fake_workers import Rig

# How long an example takes says how busy the machine is.
settings.register_profile("almaflow", deadline=None)
settings.load_profile("almaflow")

# A lock of this run's own: neither a job that measures here nor another run of the tests is waited for.
os.environ[NAME_FOR_TESTS] = f"almaflow-tests-{os.getpid()}"

# The processes of a run that are started later find the directory of the first one, which removes it at its end.
if SHARED_HOME not in os.environ:
    _shared = tempfile.TemporaryDirectory(prefix="almaflow-tests-")
    os.environ[SHARED_HOME] = _shared.name

# Where tests run beside others, threads that spin would keep these waiting. Workers of jobs have what their job says.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

DEVICES = {"spawned": "cuda", "forked": "cpu"}
"""Workers for a GPU are spawned where their server has started CUDA, which that of the troubled ones always has."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files without a test of the one mark that is asked for are not imported: all of them take ten seconds."""
    mark = config.getoption("-m")
    if mark not in {"alone", "alma"} or collection_path.suffix != ".py":
        return None
    return None if f"mark.{mark}" in collection_path.read_text(encoding="utf-8") else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that at the end no processor waits for a file that takes minutes."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def _logging() -> None:
    """Our logger warns, whatever a library has done to the root logger or to all of them in an earlier test."""
    logging.disable(logging.NOTSET)
    logger = logging.getLogger("almaflow")
    logger.disabled, logger.propagate = False, True
    logger.setLevel(logging.WARNING)


@pytest.fixture(autouse=True)
def copied_stores(monkeypatch: pytest.MonkeyPatch) -> None:
    """New stores are copies of one that was made once; ``tests/tracking/test_store.py`` makes them as the product."""
    from tests.support.empty_stores import copy_empty_store

    monkeypatch.setattr("almaflow.tracking.session._create", copy_empty_store)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Almaflow's home under the test's own directory; an MLflow server of the user's is not seen."""
    place = tmp_path / "almaflow-home"
    monkeypatch.setenv("ALMAFLOW_HOME", str(place))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return place


@pytest.fixture
def stored_home(home: Path) -> Path:
    """Almaflow's home with an empty store in it, which spares a command the seconds of making one."""
    from tests.support.empty_stores import copy_empty_store

    copy_empty_store(home / "mlflow.db")
    return home


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """What forks commands that need not be started as by a shell: a job then takes a second and not ten."""
    from tests.faults.commands import Zygote

    with Zygote.start() as started:
        yield started


@pytest.fixture
def shared_toolchain(home: Path) -> None:
    """What inductor found out about the C++ compiler for other tests, which spares a job ten seconds."""
    share_toolchain(home)


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """The surroundings of a job's conversions, faked: no process, no machine and no clock is looked at."""
    from tests.support.fake_workers import Rig

    return Rig(tmp_path)


@pytest.fixture
def troubled_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker and server with the work replaced by ``misbehaving_workers``, which the launcher's interpreter finds."""
    from tests.support.misbehaving_launch import TESTS

    from almaflow.processes import process

    monkeypatch.setattr(process, "WORKER_MODULE", "misbehaving_workers")
    monkeypatch.setattr(process, "SERVER_MODULE", "misbehaving_workers")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), *filter(None, sys.path)]))


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """The device that makes the launcher start a worker in the one way and in the other."""
    return DEVICES[request.param]
