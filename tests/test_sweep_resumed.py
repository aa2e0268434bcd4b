"""A sweep that is killed at any moment and resumed leaves what an undisturbed one leaves."""

from __future__ import annotations

import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from tests.places import LINEAR, Place

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run

pytestmark = pytest.mark.slow

CONVERSIONS = "conversions=[EAGER,EXPORT+EAGER]"
SWEEP = (*LINEAR, "-m", "batch_size=1,2", CONVERSIONS)
LONGEST_S = 12.0
"""About as long as the sweep takes."""


def runs(place: Place) -> list[Run]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{place.home / 'mlflow.db'}")
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()]))


def what_is_there(place: Place) -> Counter[tuple[str, ...]]:
    """How often each result is in the store, by what must be the same in both."""
    return Counter(
        (
            run.data.tags["almaflow.kind"],
            run.data.params.get("batch_size", ""),
            run.data.params.get("conversion", ""),
            run.data.tags.get("almaflow.fingerprint", ""),
            run.info.status,
        )
        for run in runs(place)
    )


def test_killed_and_resumed(tmp_path: Path) -> None:
    undisturbed, killed = Place(tmp_path / "undisturbed"), Place(tmp_path / "killed")
    for place in (undisturbed, killed):
        place.root.mkdir()
    assert undisturbed.run(*SWEEP) == 0, undisturbed.stderr
    seed = random.SystemRandom().randrange(10_000)
    with killed.start(*SWEEP) as process:
        time.sleep(random.Random(seed).uniform(2.0, LONGEST_S))  # noqa: S311 - a moment, not a secret
        process.kill()
    killed_at = f"with the kill of seed {seed}"
    assert killed.run(*SWEEP, "resume=true") == 0, killed_at + killed.stderr
    assert what_is_there(killed) == what_is_there(undisturbed), killed_at
    assert all(count == 1 for count in what_is_there(killed).values()), killed_at
    for run in runs(killed):
        if run.data.tags["almaflow.kind"] == "conversion":
            assert run.data.metrics["speedup_vs_eager"] > 0, killed_at
    # A third time there is nothing to do.
    before = {run.info.run_id for run in runs(killed)}
    assert killed.run(*LINEAR, "batch_size=2", CONVERSIONS, "resume=true") == 0
    assert "nothing to measure" in killed.stderr
    assert {run.info.run_id for run in runs(killed)} == before
