"""Compares a random model, such as one with dropout at work, with eager by the mean over several draws of each.

The squared distance of the two means is held against chance by relabelling: if both sides draw from the same
distribution, the draws may change sides, and the distance as labelled is not among the largest (a permutation test,
which is exact whatever the distribution and however the elements depend on each other).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING

import torch

from almaflow.records import Fidelity
from almaflow.worker.fidelity.comparison import compare
from almaflow.worker.fidelity.parts import decibels
from almaflow.worker.fidelity.tolerances import IDENTICAL_DB, Tolerance, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

LEVEL = 0.005
"""Share of right conversions that are called wrong by chance."""
FROZEN, LEVEL_FROZEN = 3.0, 0.01
"""Squared distance, as a multiple of what the mean of eager's draws has by chance, from which on the answer of a
conversion that is not random is suspicious, and the level that then holds."""
RELABELLINGS = 999
LEAST_DRAWS = 6
"""Draws of each side; fewer have not enough labellings for that level: 462 of six and six."""


def compare_random(
    reference_draws: Sequence[Sequence[Tensor]], output_draws: Sequence[Sequence[Tensor]], dtype: str
) -> Fidelity:
    """Judge by the mean over draws for the same input.

    Args:
        reference_draws: Eager's output tensors of each draw, `LEAST_DRAWS` or more.
        output_draws: The conversion's, likewise; the number may be another.
        dtype: The arithmetic type of the conversion, which sets the tolerance of what does not vary between draws.

    Raises:
        ValueError: there are too few draws to tell anything.
    """
    if min(len(reference_draws), len(output_draws)) < LEAST_DRAWS:
        msg = f"a random model is compared by {LEAST_DRAWS} draws or more of each side"
        raise ValueError(msg)
    tolerance = tolerance_of(dtype)
    first = compare(reference_draws[:1], output_draws[:1], dtype)
    if not first.rows and first.reason:
        return first  # other shapes or places
    if len(_sizes(reference_draws)) > 1:
        return replace(first, ok=True, reason=None, notes=("sizes are drawn at random: answers are not compared",))
    if len(_sizes(output_draws)) > 1:
        return replace(first, ok=False, reason="sizes differ between draws, and eager's do not")
    reference_draws, output_draws = _real(reference_draws), _real(output_draws)
    found = [
        _judge(
            torch.stack([draw[i].double().flatten() for draw in reference_draws]),
            torch.stack([draw[i].double().flatten() for draw in output_draws]),
            tolerance,
        )
        for i in range(len(reference_draws[0]))
    ]
    reason = next((reason for _, reason, _ in found if reason), None)
    notes = tuple(dict.fromkeys(note for _, _, note in found if note))
    return Fidelity(
        first.max_abs_diff,
        first.cosine,
        min(db for db, _, _ in found),
        None,
        first.rows,
        tolerance.least_db,
        ok=reason is None,
        reason=reason,
        notes=notes,
    )


def _sizes(draws: Sequence[Sequence[Tensor]]) -> set[tuple[torch.Size, ...]]:
    return {tuple(tensor.shape for tensor in draw) for draw in draws}


def _real(draws: Sequence[Sequence[Tensor]]) -> list[list[Tensor]]:
    return [[torch.view_as_real(each) if each.is_complex() else each for each in draw] for draw in draws]


def _judge(ref: Tensor, out: Tensor, tolerance: Tolerance) -> tuple[float, str | None, str | None]:
    """Return the SQNR of the means, what is wrong, and a note, of draws by elements."""
    finite = ref.isfinite().all(0) & out.isfinite().all(0)
    ref, out = ref[:, finite], out[:, finite]
    if not ref.numel():
        return IDENTICAL_DB, None, None
    difference = ref.mean(0) - out.mean(0)
    power = ref.mean(0).square().sum().item()
    found = decibels(power, difference.square().sum().item())
    rounding = tolerance.resolution * ref.abs().amax()
    fixed = ref.std(0) <= rounding * 1e-3
    still = decibels(ref[:, fixed].mean(0).square().sum().item(), difference[fixed].square().sum().item())
    if fixed.any() and still < tolerance.least_db:
        return found, f"SQNR {still:.1f} dB of what is not random is below the {tolerance.least_db:g} dB", None
    note = None
    if not fixed.all() and out[:, ~fixed].std(0).amax() <= rounding * 1e-3:
        note = "eager draws at random, the conversion answers the same each time"
    share = _share_as_far(ref, out)
    # An answer that is one draw for good is further from the mean than a mean of draws: by their number and one.
    far = bool(difference.square().sum() > FROZEN * ref.var(0).sum() / len(ref))
    if share < (LEVEL_FROZEN if note and far else LEVEL) and found < tolerance.least_db:
        return found, f"the mean of {len(out)} draws is further from eager's than chance explains", note
    return found, None, note


def _share_as_far(ref: Tensor, out: Tensor) -> float:
    """Return the share of labellings whose means are as far apart as those of the true one."""
    both = torch.cat([ref, out])
    both -= both.mean(0)
    products = both @ both.T
    here, total = len(ref), len(both)
    if comb(total, here) <= RELABELLINGS:
        sides = torch.tensor(list(combinations(range(total), here)))
    else:
        generator = torch.Generator().manual_seed(0)
        sides = torch.rand(RELABELLINGS, total, generator=generator).argsort(1)[:, :here]
    sides = torch.cat([torch.arange(here).unsqueeze(0), sides])
    weights = torch.full((len(sides), total), -1.0 / (total - here), dtype=torch.float64)
    weights.scatter_(1, sides, 1.0 / here)
    distances = ((weights @ products) * weights).sum(1)
    return float((distances >= distances[0] * (1 - 1e-9)).double().mean())
