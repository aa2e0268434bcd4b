"""What predictors said of measurements afterwards: a run of its own beside those that were measured, never in them.

All predictions of one go are one artifact of one run, which counts once it has ended as it should. So one that was
ended halfway has left nothing, and runs that were measured stay as they were written.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from almaflow.records import RecordedPrediction
from almaflow.tracking.session import session
from almaflow.tracking.store import experiments, prepare, search
from almaflow.tracking.uris import is_missing
from almaflow.tracking.writer import NEUTRAL_TAGS, log_batch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records import Prediction

ARTIFACT = "predictions.json"
KIND = "rescore"


def label(predictor: str, version: str) -> str:
    """What a predictor is called where it judged afterwards: beside itself at the time."""
    return f"{predictor}@{version}"


def log_rescored(
    uri: str,
    experiment_name: str,
    made: Sequence[tuple[str, Prediction]],
    metrics: Mapping[str, float],
) -> str:
    """Write predictions of one predictor and version as a run, and return its ID.

    Args:
        uri: A resolved store.
        experiment_name: That of the measurements.
        made: By the ID of the run that measured; at least one.
        metrics: What to show of them.

    Raises:
        TrackingError: the store cannot be reached or written.
    """
    first = made[0][1]
    experiment_id = prepare(uri, experiment_name)
    with session(uri, "the predictions could not be written") as client:
        now = int(time.time() * 1000)
        tags = NEUTRAL_TAGS | {"almaflow.kind": KIND, "almaflow.predictor_version": first.version}
        name = f"rescore {label(first.predictor, first.version)}"
        run_id = str(client.create_run(experiment_id, now, tags=tags, run_name=name).info.run_id)
        log_batch(client, run_id, metrics, {"predictor": first.predictor}, now)
        entries = [[measured, each.latency_ms, each.low_ms, each.high_ms] for measured, each in made]
        document = {"predictor": first.predictor, "version": first.version, "predictions": entries}
        client.log_dict(run_id, document, ARTIFACT)
        client.set_tag(run_id, "almaflow.status", "ok")
        client.set_terminated(run_id)
    return run_id


def rescored(uri: str, scratch: str) -> dict[str, dict[str, RecordedPrediction]]:
    """What was said afterwards, by the run that measured and the predictor's label; the newest of each.

    Args:
        uri: A resolved store.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if is_missing(uri):
        return {}
    found: dict[str, dict[str, RecordedPrediction]] = {}
    with session(uri, "predictions could not be read") as client:
        where = f"tags.`almaflow.kind` = '{KIND}' AND tags.`almaflow.status` = 'ok'"
        for run in search(client, sorted(experiments(client)), where, ["attributes.start_time ASC"]):
            place = Path(scratch, run.info.run_id)
            place.mkdir()
            path = client.download_artifacts(run.info.run_id, ARTIFACT, str(place))
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            predictor = label(document["predictor"], document["version"])
            for measured, latency_ms, low_ms, high_ms in document["predictions"]:
                said = RecordedPrediction(predictor, document["version"], latency_ms, low_ms, high_ms)
                found.setdefault(measured, {})[predictor] = said
    return found
