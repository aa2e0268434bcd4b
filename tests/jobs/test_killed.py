"""Jobs that are killed outright: what was measured reaches the store, the rest is measured, and nothing else stays."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place

from almaflow.jobs.sync import sync
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from mlflow.entities import Run
    from tests.faults.commands import Zygote
    from tests.support.forked_commands import ForkedCommand

pytestmark = pytest.mark.slow

NAMES = ("EAGER", "EXPORT+EAGER")
JOB = (*LINEAR, f"conversions=[{','.join(NAMES)}]", "measure.replicates=2", "measure.min_time_s=0.4")


def kill(place: Place, words: str, times: int = 1) -> None:
    """Start the job, and kill it once it has said so."""
    with place.start(*JOB) as process:
        _wait_for(place, process, words, times)
        process.kill()
        process.communicate()


def _wait_for(place: Place, process: subprocess.Popen[str] | ForkedCommand, words: str, times: int) -> None:
    deadline = time.monotonic() + 120
    while place.stderr.count(words) < times:
        assert process.poll() is None, place.stderr
        assert time.monotonic() < deadline, place.stderr
        time.sleep(0.02)


def stored(place: Place) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    return list(client.search_runs([experiment.experiment_id for experiment in client.search_experiments()]))


def counted(runs: list[Run]) -> Counter[tuple[str, str, str]]:
    """Active runs by kind, status and what they are of."""
    keys = [
        (
            each.data.tags["almaflow.kind"],
            each.info.status,
            each.data.tags.get("almaflow.logical_key", "").split("/")[-1],
        )
        for each in runs
    ]
    return Counter(keys)


def test_a_job_that_is_killed_keeps_every_round_and_is_finished_by_resume(tmp_path: Path, zygote: Zygote) -> None:
    place = Place(tmp_path, zygote).with_store()
    kill(place, "preparing Linear")  # nothing was begun
    (dead,) = (place.home / "jobs").iterdir()
    kill(place, "timing 2 in turns", times=2)  # each has one whole process
    assert not dead.exists()
    assert counted(stored(place)) == {("job", "RUNNING", ""): 1}

    assert [each.why_not for each in sync(resolve_uri(None))] == [None]
    runs = stored(place)
    expected = {("conversion", "KILLED", name): 1 for name in NAMES}
    assert counted(runs) == {**expected, ("job", "KILLED", ""): 1}
    rounds = [run.data.metrics["latency/rounds"] for run in runs if run.data.tags["almaflow.kind"] == "conversion"]
    assert min(rounds) > 9, "of the first process, and at least one of the second"
    (job,) = (place.home / "jobs").iterdir()
    assert not [path for name in ("work", "prepare", "reference.pt", "server.log") for path in job.rglob(name)]

    assert place.run(*JOB, "resume=true") == 0, place.stderr
    expected = {("conversion", "FINISHED", name): 1 for name in NAMES}
    assert counted(stored(place)) == {**expected, ("job", "FINISHED", ""): 1}
    assert [path.name for path in (place.home / "jobs").iterdir()] == [job.name]
