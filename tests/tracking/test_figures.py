"""How figures reach MLflow: in what order, with how many digits."""

from __future__ import annotations

from typing import Any

import pytest

from almaflow.tracking.figures import log_batch, rounded


class Client:
    """A client that remembers what it was told to log."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def log_batch(self, _: str, metrics: list[Any], **__: object) -> None:
        self.metrics |= {metric.key: metric.value for metric in metrics}


@pytest.mark.parametrize(
    ("figure", "kept"),
    [(2.2678174999999996, 2.2678), (0.0001234567, 0.00012346), (123456.0, 123456.0), (1795717200.5, 1795700000.0)],
)
def test_a_figure_has_five_digits_and_a_count_is_whole(figure: float, kept: float) -> None:
    assert rounded(figure) == kept


def test_the_latency_is_logged_first_and_predictions_last() -> None:
    """MLflow's page that compares runs opens on the metric that was logged first."""
    client: Any = Client()
    metrics = {
        "predicted_latency_ms": 3.0,
        "prediction/roofline/error_pct": 1.0,
        "throughput": 2.0,
        "latency_ms": 1 / 3,
    }
    log_batch(client, "r", metrics, {}, 0)
    assert list(client.metrics) == ["latency_ms", "throughput", "predicted_latency_ms", "prediction/roofline/error_pct"]
    assert client.metrics["latency_ms"] == 0.33333
