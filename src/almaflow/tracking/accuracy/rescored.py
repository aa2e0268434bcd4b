"""Predictions that were made after the measurement, in runs of their own: measured runs stay as they were written.

All predictions of one `almaflow rescore` are one artifact of one run. The run counts once it has ended well, so that a
command that was ended halfway leaves nothing.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from almaflow.errors import RecordError
from almaflow.records import RecordedPrediction, read_json, stamp, to_dict
from almaflow.tracking.figures import log_batch
from almaflow.tracking.reader import downloaded
from almaflow.tracking.session import session
from almaflow.tracking.store import experiments, prepare, search
from almaflow.tracking.uris import is_missing
from almaflow.tracking.writer import NEUTRAL_TAGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from almaflow.records import Prediction
    from almaflow.tracking.accuracy.cache import Later

ARTIFACT = "predictions.json"
KIND = "rescore"


@dataclass(frozen=True)
class LaterPredictions:
    """The artifact: predictions by one predictor in one version."""

    predictor: str
    version: str
    predictions: tuple[tuple[str, float, float | None, float | None], ...]
    """Each with the ID of the run that measured, the latency in ms, and its 90% interval where one was stated."""


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
        entries = tuple((measured, each.latency_ms, each.low_ms, each.high_ms) for measured, each in predictions)
        later = LaterPredictions(first.predictor, first.version, entries)
        client.log_dict(run_id, stamp() | to_dict(later), ARTIFACT)
        client.set_tag(run_id, "almaflow.status", "ok")
        client.set_terminated(run_id)
    return run_id


def rescored(uri: str, scratch: str) -> tuple[Later, bool]:
    """Read the newest later predictions, and tell whether they are all that the store has.

    A damaged artifact is left out with a warning.

    Args:
        uri: A resolved store.
        scratch: A directory for downloads.

    Raises:
        TrackingError: the store cannot be reached or read.
    """
    predictions: Later = {}
    complete = True
    if is_missing(uri):
        return predictions, complete
    with session(uri, "predictions could not be read") as client:
        where = f"tags.`almaflow.kind` = '{KIND}' AND tags.`almaflow.status` = 'ok'"
        for run in search(client, sorted(experiments(client)), where, ["attributes.start_time ASC"]):
            path = downloaded(uri, run.info.run_id, ARTIFACT, scratch)
            try:
                later = read_json(path, LaterPredictions) if path else None
            except RecordError as error:
                logging.getLogger("almaflow").warning("%s; these later predictions are left out", error)
                later = None
            if later is None:  # damaged, or its artifacts were removed
                complete = False
                continue
            predictor = label(later.predictor, later.version)
            for measured, latency_ms, low_ms, high_ms in later.predictions:
                prediction = RecordedPrediction(predictor, later.version, latency_ms, low_ms, high_ms)
                predictions.setdefault(measured, {})[predictor] = prediction
    return predictions, complete
