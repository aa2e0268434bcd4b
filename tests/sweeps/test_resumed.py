"""A sweep that is killed at any moment and resumed leaves what an undisturbed one leaves."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.support.command_directory import LINEAR, Place

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run
    from tests.faults.commands import Zygote

pytestmark = pytest.mark.slow

CONVERSIONS = "conversions=[EAGER,EXPORT+EAGER]"
SWEEP = (*LINEAR, "-m", "batch_size=1,2", CONVERSIONS)
LONGEST_S = 4.0
"""About as long as the sweep takes."""


@pytest.fixture
def place(tmp_path: Path, zygote: Zygote) -> Place:
    return Place(tmp_path, zygote)


def runs(place: Place) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def test_killed_and_resumed(place: Place) -> None:
    """The store holds what an undisturbed sweep leaves: each result once, and every run ended as it should."""
    seed = random.SystemRandom().randrange(10_000)
    with place.start(*SWEEP) as process:
        time.sleep(random.Random(seed).uniform(0.1, LONGEST_S))  # noqa: S311 - a moment, not a secret
        process.kill()
    killed_at = f"with the kill of seed {seed}"
    assert place.run(*SWEEP, "resume=true") == 0, killed_at + place.stderr
    found = Counter(
        (run.data.tags["almaflow.kind"], run.data.params.get("batch_size"), run.data.params.get("conversion"))
        for run in runs(place)
    )
    expected: list[tuple[str, str | None, str | None]] = [("sweep", None, None)]
    for size in ("1", "2"):
        expected += [("job", size, None), ("conversion", size, "EAGER"), ("conversion", size, "EXPORT+EAGER")]
    assert found == Counter(expected), killed_at
    assert {run.info.status for run in runs(place)} == {"FINISHED"}, killed_at
    for run in runs(place):
        if run.data.tags["almaflow.kind"] == "conversion":
            assert run.data.metrics["speedup/floor_vs_eager"] > 0, killed_at
    # Another time there is nothing to do.
    before = {run.info.run_id for run in runs(place)}
    assert place.run(*LINEAR, "batch_size=2", CONVERSIONS, "resume=true") == 0
    assert "nothing to measure" in place.stderr
    assert "Downloading" not in place.stderr
    assert {run.info.run_id for run in runs(place)} == before
