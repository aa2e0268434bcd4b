"""Write what was found out about an export to the run of its conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.records.clock import now
from almaflow.tracking.figures import log_batch, milliseconds
from almaflow.tracking.schema import check_metrics
from almaflow.tracking.session import session

if TYPE_CHECKING:
    from collections.abc import Mapping


def log_export(uri: str, run_id: str, metrics: Mapping[str, float]) -> None:
    """Add the figures of an export to a conversion's run.

    Args:
        uri: A resolved store.
        run_id: The ID of the conversion's run.
        metrics: Figures by the names of the contract.

    Raises:
        TrackingError: they are not in the store.
        ValueError: a metric is NaN, infinite, or has a name that MLflow does not take.
    """
    check_metrics(metrics)
    with session(uri, "the export's figures could not be written", reach=True) as client:
        log_batch(client, run_id, metrics, {}, milliseconds(now()))
