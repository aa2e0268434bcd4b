"""Learn what operations cost from the times of networks, by the formula in ``predict.costs``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from almaflow.calibration.networks import DEEP
from almaflow.predict import costs
from almaflow.predict.operation_table import operations
from almaflow.predict.roofline import joins_operations
from almaflow.records import CostModel
from almaflow.records.specs import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from almaflow.predict.operation_table import Operations, Vector
    from almaflow.records import MeasuredModel, PlannedConversion, Workload

BELIEVED = 0.08
"""The share by which a network's time differs from the formula when its parameters are right."""
MODEL_WEIGHT = 3.0
"""The number of small networks that a whole model counts for."""
NEARER = 0.5
"""The factor on the deviations of the prior when whole models are learnt from.

The prior is then what the small networks taught, which is nearer to the truth than the first guess.
"""
WHOLE_DEVIATION = 0.3
"""The standard deviation of the logarithm of a whole model's time over that of its operations in small networks."""
FOLDS = 6
CLOSE = 1e-5
"""The share by which a step has to improve the fit; a smaller one ends it."""
HOLDS = 0.9
"""The share of further networks whose ratio the prediction interval is to hold."""


def learn_backend(
    planned: PlannedConversion,
    networks: Mapping[str, tuple[Workload, float]],
    control_ms: float,
    models: Sequence[MeasuredModel] = (),
    before: CostModel | None = None,
) -> CostModel:
    """Learn what operations cost by one conversion.

    Args:
        planned: The conversion.
        networks: Small networks by their names: their operations, and the floor of their times in ms.
        control_ms: Time of the control workload meanwhile.
        models: Whole models whose time by the conversion was measured.
        before: The costs that were learnt from the small networks alone.
    """
    workloads = [*(workload for workload, _ in networks.values()), *(model.workload for model in models)]
    scaled = [model.floor_ms * control_ms / model.control_ms for model in models]
    styles = [name.rpartition("-")[0] for name in networks] + [family_of(model.model) for model in models]
    is_model = np.arange(len(workloads)) >= len(networks)
    is_deep = np.array([style == DEEP for style in styles])
    data = _Data(
        operations(workloads, planned.device, joins=joins_operations(planned)),
        np.array([*(floor for _, floor in networks.values()), *scaled]),
        is_model | is_deep,
    )
    mean, deviation = costs.prior(planned.device)
    if before is not None:
        mean, deviation = costs.vector_of(before.parameters, planned.device), deviation * NEARER
    vector, factor = fit(data, np.ones(len(workloads)), mean, deviation)
    # Networks of one style are left out together, or one would tell of the other; each deep one is drawn by itself.
    names = [*networks, *(family_of(model.model) for model in models)]
    groups = [name if deep else style for name, style, deep in zip(names, styles, is_deep, strict=True)]
    ratios = _unseen_ratios(data, groups, mean, deviation, vector)
    low, high = _interval(ratios[is_model] if models else ratios)
    parameters = costs.parameters_of(vector, planned.device)
    return CostModel(parameters, low, high, len(workloads), float(f"{control_ms:.4g}"), float(f"{factor:.4g}"))


def _interval(ratios: Vector) -> tuple[float, float]:
    """Return Student's prediction interval of a further ratio, if the logarithms of ratios are normal."""
    from scipy.special import stdtrit

    logs = np.log(ratios)
    middle, count = float(np.mean(logs)), len(logs)
    half = float(stdtrit(count - 1, (1 + HOLDS) / 2) * np.std(logs, ddof=1) * np.sqrt(1 + 1 / count))
    low, high = (float(f"{np.exp(middle + sign * half):.4g}") for sign in (-1, 1))
    return low, high


@dataclass(frozen=True)
class _Data:
    """The networks to learn from."""

    columns: Operations
    times_ms: Vector
    is_deep: NDArray[np.bool_]
    """Whether each network is a whole model, or as deep as one."""


def fit(
    data: _Data, weights: Vector, mean: Vector, deviation: Vector, start: Vector | None = None
) -> tuple[Vector, float]:
    """Find the likeliest parameters, with relative errors of heavy tails and a prior around ``mean``.

    Args:
        data: All networks.
        weights: The weight of each network; a deep one counts for ``MODEL_WEIGHT`` times as much.
        mean: Means of the prior, as logarithms.
        deviation: Standard deviations of the prior.
        start: Logarithms to begin with; None for the mean.

    Returns:
        Logarithms of the parameters, and the time of whole models over that of their operations.
    """
    logs = np.log(data.times_ms)
    scale = np.sqrt(weights * np.where(data.is_deep, MODEL_WEIGHT, 1.0)) / BELIEVED

    def residuals(vector: Vector) -> Vector:
        predicted = np.log(costs.networks_ms(vector[1:], data.columns)) + np.where(data.is_deep, vector[0], 0.0)
        error = (predicted - logs) * scale
        # The square root of a loss that grows like the logarithm, since some networks follow no formula.
        error = np.sign(error) * np.sqrt(8 * np.log1p(error**2 / 8))
        return np.concatenate([error, [vector[0] / WHOLE_DEVIATION], (vector[1:] - mean) / deviation])

    first = np.concatenate([[0.0], mean if start is None else start])
    widths = np.concatenate([[WHOLE_DEVIATION], deviation])
    best: Vector = least_squares(residuals, first, method="trf", x_scale=widths, ftol=CLOSE, max_nfev=100).x
    return best[1:], float(np.exp(best[0]))


def _unseen_ratios(data: _Data, groups: Sequence[str], mean: Vector, deviation: Vector, start: Vector) -> Vector:
    """Return measured over predicted time of each network, by parameters learnt without its group."""
    ratios = np.ones(len(groups))
    names = sorted(set(groups))
    fold_of = np.array([names.index(group) % FOLDS for group in groups])
    for fold in range(FOLDS):
        unseen = fold_of == fold
        if unseen.all() or not unseen.any():
            continue
        vector, factor = fit(data, np.where(unseen, 1e-9, 1.0), mean, deviation, start)
        predicted = costs.networks_ms(vector, data.columns) * np.where(data.is_deep, factor, 1.0)
        ratios[unseen] = (data.times_ms / predicted)[unseen]
    return ratios
