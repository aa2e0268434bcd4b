"""Learning what operations cost from what networks took (``costs``)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from almaflow.predict import costs
from almaflow.predict.roofline import joins_operations
from almaflow.records import Backend

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from almaflow.predict.costs import Operations, Vector
    from almaflow.records import MeasuredModel, PlannedConversion, Workload

BELIEVED = 0.08
"""By how much a network's time, as a share, lies beside the formula when its parameters are right."""
MODEL_WEIGHT = 3.0
"""How many small networks a whole model counts for."""
NEARER = 0.5
"""What is learnt from small networks is believed so much more than the first guess, when models are learnt from."""
WHOLE_DEVIATION = 0.3
"""Of the logarithm of what whole models take over small networks."""
FOLDS = 6
CLOSE = 1e-5
"""A step that improves the fit by a smaller share ends it."""
HOLDS = 0.9


def learn_backend(
    planned: PlannedConversion,
    networks: Mapping[str, tuple[Workload, float]],
    control_ms: float,
    models: Sequence[MeasuredModel] = (),
    before: Backend | None = None,
) -> Backend:
    """What operations cost by one conversion.

    Args:
        planned: The conversion.
        networks: Small ones by their names: their operations, and the floor of what they took in ms.
        control_ms: The control workload meanwhile.
        models: Whole models that it took a known time for.
        before: What was learnt from the small networks alone.
    """
    workloads = [*(workload for workload, _ in networks.values()), *(model.workload for model in models)]
    scaled = [model.floor_ms * control_ms / model.control_ms for model in models]
    data = _Data(
        costs.operations(workloads, joins=joins_operations(planned)),
        np.array([*(floor for _, floor in networks.values()), *scaled]),
        np.arange(len(workloads)) >= len(networks),
    )
    mean, deviation = costs.prior()
    if before is not None:
        mean, deviation = costs.vector_of(before.parameters), deviation * NEARER
    # Siblings are left out together, or one would tell of the other.
    groups = [name.rpartition("-")[0] for name in networks] + [model.model for model in models]
    vector, whole = fit(data, np.ones(len(workloads)), mean, deviation)
    ratios = _unseen_ratios(data, groups, mean, deviation, vector)
    judged = ratios[data.is_model] if models else ratios
    tail = (1 - HOLDS) / 2
    low, high = (float(f"{each:.4g}") for each in np.quantile(judged, [tail, 1 - tail]))
    parameters = costs.parameters_of(vector)
    return Backend(parameters, low, high, len(workloads), float(f"{control_ms:.4g}"), float(f"{whole:.4g}"))


@dataclass(frozen=True)
class _Data:
    """What is learnt from."""

    columns: Operations
    times_ms: Vector
    is_model: NDArray[np.bool_]
    """Of each network: whether it is a whole model."""


def fit(
    data: _Data, weights: Vector, mean: Vector, deviation: Vector, start: Vector | None = None
) -> tuple[Vector, float]:
    """The likeliest parameters: errors are relative with heavy tails, parameters are believed to lie near ``mean``.

    Args:
        data: All networks.
        weights: How much each counts; a model counts for ``MODEL_WEIGHT`` times as much.
        mean: Logarithms that are believed before.
        deviation: How far from them they may be.
        start: Logarithms to begin with; None for the mean.

    Returns:
        Logarithms of the parameters, and what whole models take over what their operations take.
    """
    logs = np.log(data.times_ms)
    scale = np.sqrt(weights * np.where(data.is_model, MODEL_WEIGHT, 1.0)) / BELIEVED

    def off(vector: Vector) -> Vector:
        predicted = np.log(costs.networks_ms(vector[1:], data.columns)) + np.where(data.is_model, vector[0], 0.0)
        error = (predicted - logs) * scale
        # The square root of a loss that grows like the logarithm: some networks do what no formula says.
        error = np.sign(error) * np.sqrt(8 * np.log1p(error**2 / 8))
        return np.concatenate([error, [vector[0] / WHOLE_DEVIATION], (vector[1:] - mean) / deviation])

    first = np.concatenate([[0.0], mean if start is None else start])
    widths = np.concatenate([[WHOLE_DEVIATION], deviation])
    found: Vector = least_squares(off, first, method="trf", x_scale=widths, ftol=CLOSE, max_nfev=100).x
    return found[1:], float(np.exp(found[0]))


def _unseen_ratios(data: _Data, groups: Sequence[str], mean: Vector, deviation: Vector, start: Vector) -> Vector:
    """Measured over predicted of each network by parameters that were learnt without its group."""
    ratios = np.ones(len(groups))
    names = sorted(set(groups))
    fold_of = np.array([names.index(group) % FOLDS for group in groups])
    for fold in range(FOLDS):
        unseen = fold_of == fold
        if unseen.all() or not unseen.any():
            continue
        vector, whole = fit(data, np.where(unseen, 1e-9, 1.0), mean, deviation, start)
        predicted = costs.networks_ms(vector, data.columns) * np.where(data.is_model, whole, 1.0)
        ratios[unseen] = (data.times_ms / predicted)[unseen]
    return ratios
