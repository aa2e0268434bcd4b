"""Judges one output by the whole of it, by what differs between inputs, and by its parts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from almaflow.worker.fidelity import exact
from almaflow.worker.fidelity.parts import Part, decibels, judge, judge_varying
from almaflow.worker.fidelity.sums import Moments, Sums, sums_of
from almaflow.worker.fidelity.tolerances import IDENTICAL_DB
from almaflow.worker.fidelity.where import concentrated, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from almaflow.worker.fidelity.places import Pair
    from almaflow.worker.fidelity.tolerances import Tolerance

SAME_ROWS = 1e-12
"""Share of the power that rounding leaves of the variation between rows that are the same."""
ONE_CALL = 0.01
"""Noise of an answer to the call that it belongs to, at most, as a share of what it has for other calls."""


@dataclass(frozen=True)
class Judged:
    """What came of one output."""

    sqnr_db: float = IDENTICAL_DB
    cosine: float = 1.0
    max_abs_diff: float = 0.0
    worst_part: str | None = None
    worst_part_db: float | None = None
    equal_share: float | None = None
    reason: str | None = None


def judge_output(pairs: Sequence[Pair], tolerance: Tolerance) -> Judged:
    """Judge one output by its pairs of all calls."""
    if not any(each.ref.numel() for each in pairs):
        return Judged()
    if exact.is_exact(pairs[0].ref):
        return _judge_exact(pairs, tolerance)
    if all(torch.equal(each.ref, each.out) for each in pairs):
        return Judged()
    sums = sums_of(pairs)
    rows = _joined(sums.rows)
    power, noise = rows.rr.sum().item(), rows.dd.sum().item()
    sqnr = decibels(power, noise)
    part, name = _worst_part(sums, rows, tolerance)
    reason = None
    varying = _varying_correlation(sums, rows)
    alike = _answers_alike(pairs, sums)
    if sqnr < tolerance.least_db:
        lower = name if part and part.decibels < sqnr - 1 else None
        reason = counted(
            [
                f"SQNR {sqnr:.1f} dB is below the {tolerance.least_db:g} dB asked of {tolerance.dtype}",
                f"{lower}: {part.decibels:.1f} dB" if part and lower else None,
                concentrated(sums),
            ]
        )
    elif varying is not None and varying < tolerance.least_correlation:
        least = tolerance.least_correlation
        reason = f"what differs between inputs correlates with eager's by {varying:.3f}, less than {least:g}"
    elif alike:
        reason = "the answer to each call is the same to the bit, where eager's differ"
    elif part and part.lost:
        whole = f"{tolerance.dtype} is to keep the signal of each part (the whole has {sqnr:.1f} dB)"
        reason = counted([f"{name}: {part.decibels:.1f} dB, and {whole}", concentrated(sums)])
    return Judged(
        sqnr_db=sqnr,
        cosine=_cosine(power, power - rows.rd.sum().item(), _of_out(rows)),
        max_abs_diff=min(sums.largest_difference * sums.scale, torch.finfo(torch.float64).max),
        worst_part=name,
        worst_part_db=part.decibels if part else None,
        reason=reason,
    )


def _judge_exact(pairs: Sequence[Pair], tolerance: Tolerance) -> Judged:
    share, _ = exact.equal_share(pairs)
    if share == 1:
        return Judged(equal_share=1.0)
    sums = sums_of(pairs)
    rows = _joined(sums.rows)
    power = rows.rr.sum().item()
    reason = exact.problem(pairs, tolerance)
    return Judged(
        cosine=_cosine(power, power - rows.rd.sum().item(), _of_out(rows)) if reason else 1.0,
        sqnr_db=decibels(power, rows.dd.sum().item()) if reason else IDENTICAL_DB,
        max_abs_diff=sums.largest_difference * sums.scale,
        equal_share=share,
        reason=counted([reason, concentrated(sums)]) if reason else None,
    )


def _worst_part(sums: Sums, rows: Moments, tolerance: Tolerance) -> tuple[Part | None, str | None]:
    """Return the worst part of all kinds, and its name; lost ones come before others."""
    found: list[tuple[Part | None, str]] = []
    if len(rows.rr) > 1:
        found.append((judge(rows, tolerance), "row"))
        varying = [each for each in sums.varying if each is not None]
        if varying:
            power = torch.cat([r.rr / r.count.clamp(min=1) for r, v in zip(sums.rows, sums.varying, strict=True) if v])
            part = judge_varying(_joined(varying), tolerance, power)
            found.append((part if part and part.lost else None, "row"))
    for name, families in (("channel", sums.channels), ("last dimension", sums.last)):
        found += [
            (judge(moments, tolerance, sums.scale, units=True), name) for size, moments in families.items() if size > 1
        ]
    parts = [(part, name) for part, name in found if part is not None]
    if not parts:
        return None, None
    part, name = min(parts, key=lambda each: (not each[0].lost, each[0].decibels))
    return part, f"{name} {part.index + 1} of {part.of}"


def _answers_alike(pairs: Sequence[Pair], sums: Sums) -> bool:
    """Whether one answer is given to all calls, that of one of them.

    Of two calls of two rows, the share of the variation that lies within the calls may correlate by chance. Where the
    variation is below what the type resolves, answers may be alike, but then none of them is near to eager's.
    """
    first = pairs[0]
    if len(pairs) < 2 or not all(torch.equal(each.out, first.out) for each in pairs[1:]):  # noqa: PLR2004 - one has no other
        return False
    noise = [each.dd.sum().item() for each in sums.rows]
    return min(noise) <= ONE_CALL * max(noise)


def _varying_correlation(sums: Sums, rows: Moments) -> float | None:
    """Correlate the parts that differ between rows; None where eager's rows are all the same."""
    varying = [each for each in sums.varying if each is not None]
    if not varying:
        return None
    moments = _joined(varying)
    signal = moments.rr.sum().item()
    if signal <= SAME_ROWS * rows.rr.sum().item():
        return None
    return _cosine(signal, signal - moments.rd.sum().item(), _of_out(moments))


def _joined(moments: Sequence[Moments]) -> Moments:
    names = ("count", "r", "rr", "d", "dd", "rd")
    return Moments(*(torch.cat([getattr(each, name) for each in moments]) for name in names))


def _of_out(moments: Moments) -> float:
    """Return the power of the conversion's output, which is r - d."""
    power, noise, both = (float(each.sum()) for each in (moments.rr, moments.dd, moments.rd))
    left = power - 2 * both + noise
    return left if left > SAME_ROWS * max(power, noise) else 0.0


def _cosine(first: float, both: float, second: float) -> float:
    """Return the cosine similarity from powers and their product; 1 for two zero vectors and 0 for one."""
    if first == 0 or second == 0:
        return float(first == second)
    return max(-1.0, min(1.0, both / (math.sqrt(first) * math.sqrt(second))))
