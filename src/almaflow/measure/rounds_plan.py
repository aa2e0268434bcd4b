"""How what is asked for in all is cut into rounds."""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING

from almaflow.records.protocol import Turn

if TYPE_CHECKING:
    from almaflow.records import MeasureSpec

MINIMUM_ROUNDS = 9
"""Of independent rounds, 95% needs six; nine leave room for some that are alike, and tell whether they are."""


def turn_of(spec: MeasureSpec, index: int) -> Turn:
    """One of ``MINIMUM_ROUNDS`` equal parts of what is asked for in all."""
    return Turn(
        index=index,
        min_calls=ceil(spec.min_samples / MINIMUM_ROUNDS),
        min_time_s=spec.min_time_s / MINIMUM_ROUNDS,
        max_time_s=spec.max_time_s / MINIMUM_ROUNDS,
    )
