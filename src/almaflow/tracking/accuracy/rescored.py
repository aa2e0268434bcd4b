"""Predictions that were made after the measurement, in runs of their own: measured runs stay as they were written.

All predictions of one `almaflow rescore` are one artifact of one run. The run counts once it has ended well, so that a
command that was ended halfway leaves nothing.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from almaflow.records import RecordedPrediction
from almaflow.tracking.artifacts import fetched
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
    """Return the name of a predictor that was asked after the measurement; earlier answers keep the plain name."""
    return f"{predictor}@{version}"


def log_rescored(
    uri: str,
    experiment_name: str,
    predictions: Sequence[tuple[str, Prediction]],
    metrics: Mapping[str, float],
) -> str:
    """Write predictions of one predictor and version as a run, and return its ID.

    Args:
        uri: A resolved store.
        experiment_name: The experiment of the measurements.
        predictions: At least one, each with the ID of the run that measured.
        metrics: Figures that sum the predictions up.

    Raises:
        TrackingError: the store cannot be reached or written.
    """
    first = predictions[0][1]
    experiment_id = prepare(uri, experiment_name)
    with session(uri, "the predictions could not be written") as client:
        now = int(time.time() * 1000)
        tags = NEUTRAL_TAGS | {"almaflow.kind": KIND, "almaflow.predictor_version": first.version}
        name = f"rescore {label(first.predictor, first.version)}"
        run_id = str(client.create_run(experiment_id, now, tags=tags, run_name=name).info.run_id)
        log_batch(client, run_id, metrics, {"predictor": first.predictor}, now)
        entries = [[measured, each.latency_ms, each.low_ms, each.high_ms] for measured, each in predictions]
        document = {"predictor": first.predictor, "version": first.version, "predictions": entries}
        client.log_dict(run_id, document, ARTIFACT)
        client.set_tag(run_id, "almaflow.status", "ok")
        client.set_terminated(run_id)
    return run_id


def rescored(uri: str, scratch: str) -> dict[str, dict[str, RecordedPrediction]]:
    """Read the newest later predictions, by the ID of the run that measured and the predictor's label.

    Args:
        uri: A resolved store.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    if is_missing(uri):
        return {}
    predictions: dict[str, dict[str, RecordedPrediction]] = {}
    with session(uri, "predictions could not be read") as client:
        where = f"tags.`almaflow.kind` = '{KIND}' AND tags.`almaflow.status` = 'ok'"
        for run in search(client, sorted(experiments(client)), where, ["attributes.start_time ASC"]):
            path = fetched(client, run.info.run_id, ARTIFACT, scratch)
            if path is None:
                continue
            document = json.loads(path.read_text(encoding="utf-8"))
            predictor = label(document["predictor"], document["version"])
            for measured, latency_ms, low_ms, high_ms in document["predictions"]:
                prediction = RecordedPrediction(predictor, document["version"], latency_ms, low_ms, high_ms)
                predictions.setdefault(measured, {})[predictor] = prediction
    return predictions
