"""The parts of a conversion's time, by its runtime's profiler and by predictors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from almaflow.errors import UsageError
from almaflow.machine.lock import alone
from almaflow.processes.environment import server_environment
from almaflow.processes.one_shot import answer_of
from almaflow.profiling.parts import by_part
from almaflow.records import to_dict
from almaflow.records.operators import ComparedOperator, Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.predict import Predictor
    from almaflow.records import PredictionRequest

TIME_LIMIT_S = 600


def predicted_parts(predictor: Predictor, question: PredictionRequest) -> dict[str, float]:
    """Return milliseconds of one call by part, the longest first; none where the predictor has no ``costs``."""
    costs = getattr(predictor, "costs", None)
    return by_part((cost.operation.kind, cost.total_ms) for cost in costs(question)) if costs else {}


class Profiled(NamedTuple):
    """An operator as a profiler measured it."""

    kind: str
    total_ms: float
    """Of all calls of it in one call of the model."""
    name: str
    """Its name in the runtime's graph; empty where the profiler tells kinds only."""


def compared_operators(
    predictor: Predictor, question: PredictionRequest, profiled: Sequence[Profiled]
) -> list[ComparedOperator]:
    """Return the operators of one call, those that are farthest off first; none where the predictor has none.

    Args:
        predictor: A predictor that may have ``costs``, whose operations may be a runtime's own operators.
        question: A request about this machine.
        profiled: What ``profiled_operators`` returned; nothing where it was not asked.
    """
    costs = getattr(predictor, "costs", None)
    shares = [each for each in (costs(question) if costs else ()) if isinstance(each.operation, Operator)]
    measured_ms = {each.name: each.total_ms for each in profiled}
    same = all(each.operation.name in measured_ms for each in shares)
    groups: dict[str, list[int]] = {}
    for position, each in enumerate(shares):
        groups.setdefault(each.operation.key, []).append(position)
    compared = [
        ComparedOperator(
            shares[places[0]].operation,
            len(places),
            sum(shares[place].total_ms for place in places),
            sum(measured_ms[shares[place].operation.name] for place in places) if same else None,
        )
        for places in groups.values()
    ]
    return sorted(compared, key=_distance, reverse=True)


def _distance(compared: ComparedOperator) -> float:
    return abs(compared.predicted_ms - (compared.profiled_ms or 0.0))


def profiled_operators(question: PredictionRequest, notify: Callable[[str], None]) -> list[Profiled]:
    """Build the conversion here, call it some times, and return its profiler's operators with their ms of one call.

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
        profiled = answer_of(
            "almaflow.worker.profilers",
            task,
            failed=f"{planned.name} could not be profiled",
            timeout_s=TIME_LIMIT_S,
            environment=os.environ | server_environment(question.hardware),
        )
    return [Profiled(*each) for each in profiled]
