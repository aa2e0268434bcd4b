"""A disk that is full ends a job with one line, and what was measured before is kept."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place
from tests.support.empty_stores import copy_empty_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.commands import Zygote

pytestmark = pytest.mark.slow


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    disk = tmp_path / "almaflow-home"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("only root may make a small disk, and not in every container")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_the_job_ends_with_one_line_and_the_store_has_what_was_measured(
    tmp_path: Path, small_disk: Path, zygote: Zygote
) -> None:
    from mlflow import MlflowClient

    place, store = Place(tmp_path, zygote), f"sqlite:///{tmp_path}/store.db"
    copy_empty_store(tmp_path / "store.db")
    with place.start(*LINEAR, "conversions=[EAGER,EXPORT+EAGER]", f"tracking.uri={store}") as process:
        while not list(small_disk.glob("jobs/*/job.json")):  # it is about to measure
            assert process.poll() is None, place.stderr
        with suppress(OSError), (small_disk / "fill").open("wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * 4096)
        process.communicate()
    assert process.returncode == 1, place.stderr
    assert "Traceback" not in place.stderr
    assert "No space left on device" in place.stderr
    assert "resume=true" in place.stderr
    client = MlflowClient(tracking_uri=store)
    runs = client.search_runs([each.experiment_id for each in client.search_experiments()])
    assert [run.data.tags["almaflow.kind"] for run in runs].count("job") == 1
