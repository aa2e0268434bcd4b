"""The parts of a conversion's time, by its runtime's profiler and by predictors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from almaflow.errors import UsageError
from almaflow.machine.lock import alone
from almaflow.processes.environment import server_environment
from almaflow.processes.one_shot import answer_of
from almaflow.profiling.parts import by_part
from almaflow.records import to_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.predict import Predictor
    from almaflow.records import PredictionRequest

TIME_LIMIT_S = 600


def predicted_parts(predictor: Predictor, question: PredictionRequest) -> dict[str, float]:
    """Return milliseconds of one call by part, the longest first; none where the predictor has no ``costs``."""
    costs = getattr(predictor, "costs", None)
    return by_part((cost.operation.kind, cost.total_ms) for cost in costs(question)) if costs else {}


def profiled_parts(question: PredictionRequest, notify: Callable[[str], None]) -> dict[str, float]:
    """Build the conversion here, call it some times, and return its profiler's milliseconds of one call by part.

    Args:
        question: A request about this machine.
        notify: Called with a line while another job measures.

    Raises:
        UsageError: the conversion cannot run here.
        AlmaflowError: the conversion failed.
    """
    planned = question.conversion
    if planned.unavailable or planned.device != "cpu":
        message = f"--profile {planned.name}: {planned.unavailable or 'only conversions on the CPU are profiled'}"
        raise UsageError(message)
    task = {
        "model": to_dict(question.model),
        "conversion": to_dict(planned),
        "threads": question.hardware.threads,
    }
    with alone("wait", notify):
        parts = answer_of(
            "almaflow.worker.profilers",
            task,
            failed=f"{planned.name} could not be profiled",
            timeout_s=TIME_LIMIT_S,
            environment=os.environ | server_environment(question.hardware),
        )
    return by_part(parts)
