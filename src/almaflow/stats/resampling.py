"""Intervals of any figure of timings, by drawing rounds anew.

Calls that follow each other are alike, so that whole rounds are drawn, with replacement and as many as there are (a
bootstrap of blocks: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, 1997, section 8.2.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from almaflow.stats.intervals import CONFIDENCE, FEWEST, Interval, hull

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Figure = Callable[[NDArray[np.float64]], float]

DRAWS = 999
SEED = 0
"""Of the draws, so that the same rounds have the same interval each time that they are looked at."""


def interval_over_rounds(processes: Sequence[Sequence[Sequence[float]]], figure: Figure) -> Interval | None:
    """Return the 95% interval of a figure: from one process's rounds; over several, the hull of theirs.

    Args:
        processes: For each process the samples of each of its rounds.
        figure: Gives the figure of an array of samples, of which there is at least one.

    Returns:
        None where there is no process, or one with fewer than six rounds.
    """
    return hull([_of_process([each for each in rounds if each], figure) for rounds in processes])


def _of_process(rounds: Sequence[Sequence[float]], figure: Figure) -> Interval | None:
    if len(rounds) < FEWEST:
        return None
    import numpy as np
    from scipy.stats import bootstrap

    arrays = [np.asarray(each, dtype=np.float64) for each in rounds]

    def of_drawn(drawn: NDArray[np.float64]) -> float:
        return figure(np.concatenate([arrays[int(index)] for index in drawn]))

    found = bootstrap(
        (np.arange(len(arrays)),),
        of_drawn,
        n_resamples=DRAWS,
        vectorized=False,
        confidence_level=CONFIDENCE,
        method="percentile",
        random_state=np.random.default_rng(SEED),
    ).confidence_interval
    return Interval(float(found.low), float(found.high))
