"""Judges integers and booleans: class numbers, masks, indices. A difference of two of them is no noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from almaflow.worker.fidelity.places import Pair
    from almaflow.worker.fidelity.tolerances import Tolerance

CLASSES = 4096
"""Most different values that are told apart for the agreement that chance gives."""
LARGE, FEWEST, LOST = 1 / 12, 24, 0.05
"""Share and number of elements from which on a value may not be lost, and the share of it that lost ones keep."""


def is_exact(tensor: Tensor) -> bool:
    """Whether an output of eager is judged by equality; bytes are images, and so signals."""
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype is not torch.uint8


def equal_share(pairs: Sequence[Pair]) -> tuple[float, int]:
    """Return the share of equal elements over all calls, and how many there are."""
    equal = total = 0
    for each in pairs:
        same = each.ref == each.out
        same = same if each.judged is None else same[each.judged]
        equal += int(same.sum())
        total += same.numel()
    return (equal / total if total else 1.0), total


def problem(pairs: Sequence[Pair], tolerance: Tolerance) -> str | None:
    """Say what is wrong: too few equal elements, or no more than chance gives where most are the same anyway."""
    share, total = equal_share(pairs)
    if share == 1:
        return None
    least = tolerance.least_equal
    # Of few elements, one close call more than expected may fall the other way.
    spare = (least * (1 - least) / total) ** 0.5 if least < 0.99 else 0.0  # noqa: PLR2004 - float32 has no close calls
    if share < least - spare:
        return f"{share:.1%} of {total} elements are equal, less than the {least:.0%} asked of {tolerance.dtype}"
    by_chance = _by_chance(pairs)
    if by_chance is not None and share - by_chance < (least - spare) * 0.6 * (1 - by_chance):
        return f"{share:.1%} of {total} elements are equal, hardly more than by chance ({by_chance:.1%})"
    lost = _lost_value(pairs, share)
    return f"{lost[0]}: {lost[1]:.1%} of its {lost[2]} elements are equal, of all {share:.1%}" if lost else None


def _lost_value(pairs: Sequence[Pair], share: float) -> tuple[str, float, int] | None:
    """Return a common value, such as one class in six, that is (nearly) always another one, its share and number."""
    ref, out = _values(pairs)
    values, places = torch.unique(ref, return_inverse=True)
    if len(values) > CLASSES:
        return None
    counts = torch.bincount(places)
    equal = torch.bincount(places, (ref == out).double(), minlength=len(values)) / counts
    lost = (counts >= max(FEWEST, LARGE * len(ref))) & (equal <= min(LOST, share / 2))
    if not lost.any():
        return None
    index = int(lost.nonzero()[0])
    return f"value {values[index].item():g}", equal[index].item(), int(counts[index])


def _values(pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Return eager's and the conversion's elements of all calls that are judged."""
    sides = ([each.ref for each in pairs], [each.out for each in pairs])
    places = [each.judged for each in pairs]
    ref, out = (
        torch.cat([(t if at is None else t[at]).flatten().double() for t, at in zip(side, places, strict=True)])
        for side in sides
    )
    return ref, out


def _by_chance(pairs: Sequence[Pair]) -> float | None:
    """Return the share of equal elements between eager's values and the conversion's in another order."""
    ref, out = _values(pairs)
    values, places = torch.unique(torch.cat([ref, out]), return_inverse=True)
    if not 1 < len(values) <= CLASSES:
        return None
    counts = [torch.bincount(half, minlength=len(values)).double() / len(ref) for half in places.split(len(ref))]
    return float(counts[0] @ counts[1])
