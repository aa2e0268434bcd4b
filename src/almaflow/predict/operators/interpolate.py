"""Times of operators that are not in a table, by a Gaussian process for each class of operators.

The process is over logarithms: a linear part, as the time of much work grows with it, and a rough part around it, since
what a library does with certain sizes is no smooth function of them. Its variance says how far an operator is from the
measured ones. Hyperparameters are learnt when the table is filled, and kept in it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import exp, log
from statistics import median
from typing import TYPE_CHECKING, Any

from almaflow.predict.operators.features import FEATURES, class_of, features
from almaflow.records.operators import OperatorTime

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from almaflow.records.operators import Operator, OperatorTable

    Vector = NDArray[np.float64]

SOURCE = "configs"
"""The source of the entries that are learnt from: a user's own models are none of them."""
FEWEST, LEARNT, MOST = 8, 200, 700
"""Entries of a class: the fewest that it is learnt from, the most for the hyperparameters, and for predictions."""
SMALLEST_US = 0.3
"""Added before logarithms are taken: differences of tenths of a microsecond are the clock's."""
FAR = 0.7
"""Relative deviation of an operator of a class that has too few entries."""


@dataclass(frozen=True)
class Interpolated:
    """Times of operators, with what is known of their errors."""

    times: list[OperatorTime]
    """In the order in which they were asked for."""
    covariance: dict[str, tuple[list[int], Any]]
    """By class the places in ``times``, and the covariance of the logarithms of their times."""


def interpolate(operators: Sequence[Operator], table: OperatorTable) -> Interpolated:
    """Return the times of operators by the table's entries from configs."""
    import numpy as np

    entries = _by_class(table)
    weights_us = _weights_us_per_byte(table)
    places: dict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(operators):
        places[class_of(each)].append(place)
    times: dict[int, OperatorTime] = {}
    covariance: dict[str, tuple[list[int], Any]] = {}
    for name, own in places.items():
        asked = [operators[place] for place in own]
        known = entries.get(name, [])
        if len(known) >= FEWEST:
            logs, spread = _process(known, table.models.get(name)).predict(_matrix(asked), return_cov=True)
        else:
            logs = np.array([log(_by_bytes(each, table) + SMALLEST_US) for each in asked])
            spread = np.eye(len(asked)) * FAR**2
        covariance[name] = own, spread
        for place, operator, each in zip(own, asked, logs, strict=True):
            warm_us = max(0.0, exp(float(each)) - SMALLEST_US)
            times[place] = OperatorTime(operator, warm_us, warm_us + operator.weight_bytes * weights_us)
    return Interpolated([times[place] for place in range(len(operators))], covariance)


def relative_deviation(found: Interpolated, microseconds: Sequence[float]) -> float:
    """Return the relative standard deviation of the sum of the operators' times.

    Args:
        found: The operators' times and covariances of their logarithms.
        microseconds: What each takes within the call.
    """
    import numpy as np

    total = sum(microseconds)
    variance = 0.0
    for places, spread in found.covariance.values():
        own = np.array([microseconds[place] for place in places])
        variance += float(own @ spread @ own)
    return max(0.0, variance) ** 0.5 / total if total else 0.0


def learn(table: OperatorTable) -> dict[str, list[float]]:
    """Return the hyperparameters of each class that has enough entries."""
    learnt = {}
    for name, entries in _by_class(table).items():
        if len(entries) >= FEWEST:
            process = _process(entries[:: max(1, len(entries) // LEARNT)], None, fits=True)
            learnt[name] = [float(each) for each in process.kernel_.theta]
    return learnt


def _by_class(table: OperatorTable) -> dict[str, list[OperatorTime]]:
    classes: dict[str, list[OperatorTime]] = defaultdict(list)
    for each in table.entries.values():
        if each.source == SOURCE:
            classes[class_of(each.operator)].append(each)
    return classes


def _process(entries: Sequence[OperatorTime], theta: Sequence[float] | None, *, fits: bool = False) -> Any:
    import numpy as np
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern, WhiteKernel

    kernel = (
        ConstantKernel(0.05, (1e-4, 10)) * DotProduct(1.0, (1e-2, 1e2))
        + ConstantKernel(0.1, (1e-3, 10)) * Matern([4.0] * len(FEATURES), (0.5, 100), nu=1.5)
        + WhiteKernel(0.003, (1e-4, 0.1))
    )
    if theta and len(theta) == len(kernel.theta):
        kernel = kernel.clone_with_theta(np.array(theta))
    entries = entries[:MOST]
    optimizer = "fmin_l_bfgs_b" if fits else None
    process = GaussianProcessRegressor(kernel, optimizer=optimizer, normalize_y=True, random_state=0)
    return process.fit(
        _matrix([each.operator for each in entries]), [log(each.warm_us + SMALLEST_US) for each in entries]
    )


def _matrix(operators: Sequence[Operator]) -> Vector:
    import numpy as np

    return np.array([features(each) for each in operators])


def _weights_us_per_byte(table: OperatorTable) -> float:
    """Return what a byte of cold weights costs beside the time with warm ones, in the middle of the entries."""
    costs = [
        (each.cold_us - each.warm_us) / each.operator.weight_bytes
        for each in table.entries.values()
        if each.source == SOURCE and each.cold_us is not None and each.operator.weight_bytes
    ]
    return max(0.0, median(costs)) if costs else 0.0


def _by_bytes(operator: Operator, table: OperatorTable) -> float:
    """Return the time of as many bytes in the middle of all entries that move about as many."""
    rates = [
        each.warm_us / max(1.0, each.operator.read_bytes + each.operator.written_bytes)
        for each in table.entries.values()
        if each.source == SOURCE and not each.operator.weight_bytes
    ]
    moved = operator.read_bytes + operator.written_bytes
    return (median(rates) if rates else 1e-4) * moved
