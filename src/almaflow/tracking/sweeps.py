"""The run that stands for a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.tracking import schema as names
from almaflow.tracking.artifacts import copy_to
from almaflow.tracking.figures import log_batch, milliseconds
from almaflow.tracking.session import session
from almaflow.tracking.store import prepare
from almaflow.tracking.writer import NEUTRAL_TAGS, NOTE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from almaflow.records import Sweep


def log_sweep(  # noqa: PLR0913, PLR0917 - what the run is made of
    uri: str, experiment_name: str, sweep: Sweep, metrics: Mapping[str, float], note: str, artifacts_dir: Path
) -> str:
    """Write the sweep's run, or bring the one that the store has up to date, and return its ID.

    Raises:
        TrackingError: the store cannot be reached or written; trying again does no harm.
        UsageError: the experiment was deleted.
    """
    names.check_metrics(metrics)
    experiment_id = prepare(uri, experiment_name)
    with session(uri, "the sweep's record could not be written", "`almaflow sync` writes it") as client:
        wanted = f"tags.`almaflow.kind` = 'sweep' AND tags.`almaflow.sweep_id` = '{sweep.sweep_id}'"
        run, *doubles = client.search_runs([experiment_id], wanted) or [
            client.create_run(
                experiment_id,
                start_time=milliseconds(sweep.started_at),
                tags=NEUTRAL_TAGS | {"almaflow.kind": "sweep", "almaflow.sweep_id": sweep.sweep_id},
                run_name=f"sweep {sweep.sweep_id}",
            )
        ]
        for double in doubles:
            client.delete_run(double.info.run_id)
        run_id = str(run.info.run_id)
        params = {"sweep": names.cut(" ".join(sweep.overrides), names.PARAM_LENGTH)}
        ended = milliseconds(sweep.ended_at if sweep.ended_at is not None else sweep.started_at)
        if run.data.params:  # MLflow's params cannot be changed, and `resume=true` is no other sweep
            params = {}
        tags = {
            "almaflow.status": "interrupted" if sweep.interrupted else "ok",
            NOTE: names.cut(note, names.TAG_LENGTH),
        }
        log_batch(client, run_id, metrics, params, ended, tags)
        copy_to(client, run_id, artifacts_dir)
        client.set_terminated(run_id, status="KILLED" if sweep.interrupted else "FINISHED", end_time=ended)
    return run_id
