"""Compares the outputs of several calls with eager's on the same inputs.

It has to meet three conditions. The signal-to-quantisation-noise ratio, SQNR = 10 log10(sum ref^2 / sum (ref - out)^2)
in dB, must reach a tolerance that depends on the arithmetic. The part that differs between inputs (each output element
less its mean over the rows) must correlate with that of eager: a network with random weights answers nearly the same
logits to every input, so that a conversion that ignores its input would pass on SQNR alone. And no row, no channel and
no place of the last dimension may have lost its own signal (`parts`). Several outputs are judged one by one, since a
large one would hide that a small one is wrong. Integers and booleans are judged by equality (`exact`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from almaflow.records import Fidelity
from almaflow.worker.fidelity.judgement import Judged, judge_output
from almaflow.worker.fidelity.places import Pair, pair
from almaflow.worker.fidelity.sets import aligned
from almaflow.worker.fidelity.tolerances import IDENTICAL_DB, Tolerance, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


def compare(
    references: Sequence[Sequence[Tensor]],
    outputs: Sequence[Sequence[Tensor]],
    dtype: str | Tolerance,
    judged: Sequence[Tensor] | None = None,
    batch_sizes: Sequence[int] | None = None,
) -> Fidelity:
    """Judge the outputs of several calls against eager's.

    Args:
        references: For each call, eager's output tensors on the CPU; the first dimension is the batch. Sizes may differ
            from call to call.
        outputs: For each call, the conversion's output tensors, likewise.
        dtype: The arithmetic type of the conversion, which sets the tolerance, or a tolerance.
        judged: For each call, a boolean tensor (N, L) that is false at padding; it holds for each output whose first
            two dimensions are (N, L). None: everything counts.
        batch_sizes: Of each call, the size of the batch, which tells samples from rows whose number the data give.
    """
    tolerance = tolerance_of(dtype) if isinstance(dtype, str) else dtype
    found = _compare(references, outputs, tolerance, judged)
    if found.ok or judged is not None:
        return found
    ordered = aligned(references, outputs, tolerance, batch_sizes)
    if ordered is None:
        return found
    again = _compare(ordered.references, ordered.outputs, tolerance, None)
    return replace(again, notes=(*again.notes, ordered.note)) if again.ok else found


def _compare(
    references: Sequence[Sequence[Tensor]],
    outputs: Sequence[Sequence[Tensor]],
    tolerance: Tolerance,
    judged: Sequence[Tensor] | None,
) -> Fidelity:
    pairs = _pairs(references, outputs, judged)
    if isinstance(pairs, str):
        return Fidelity(0.0, 0.0, 0.0, None, 0, tolerance.least_db, ok=False, reason=pairs)
    if not pairs:  # eager answers with nothing at all, and so does the conversion
        return Fidelity(0.0, 1.0, IDENTICAL_DB, None, 0, tolerance.least_db, ok=True)
    rows = sum(len(each.ref) if each.ref.dim() else 1 for each in pairs[0])
    nothing = _nothing_finite(pairs)
    if nothing:
        return Fidelity(0.0, 0.0, 0.0, None, rows, tolerance.least_db, ok=False, reason=nothing)
    found = [judge_output(output, tolerance) for output in pairs]
    named = [
        replace(each, worst_part=f"output {number}, {each.worst_part}" if each.worst_part else None)
        for number, each in enumerate(found, start=1)
    ]
    several = len(found) > 1
    wrong = next((number for number, each in enumerate(found) if each.reason), None)
    reason = None if wrong is None else found[wrong].reason
    candidates = [each for each in (named if several else found) if each.worst_part_db is not None]
    at_fault = [each for each in candidates if each.reason] or candidates
    worst = min(at_fault, key=lambda each: each.worst_part_db or 0.0, default=Judged())
    shares = [each.equal_share for each in found if each.equal_share is not None]
    return Fidelity(
        max_abs_diff=max(each.max_abs_diff for each in found),
        cosine=min(each.cosine for each in found),
        sqnr_db=min(each.sqnr_db for each in found),
        top1_agreement=_top1(pairs[0]),
        rows=rows,
        tolerance_db=tolerance.least_db,
        ok=reason is None,
        reason=f"output {wrong + 1} of {len(found)}: {reason}" if wrong is not None and several else reason,
        worst_part=worst.worst_part,
        worst_part_db=worst.worst_part_db,
        equal_share=min(shares, default=None),
    )


def _pairs(
    references: Sequence[Sequence[Tensor]], outputs: Sequence[Sequence[Tensor]], judged: Sequence[Tensor] | None
) -> list[list[Pair]] | str:
    """Return for each output its pair of each call, or what makes them impossible to compare."""
    by_output: list[list[Pair]] = [[] for _ in range(max(map(len, references), default=0))]
    for call, (ref, out) in enumerate(zip(references, outputs, strict=True)):
        if ref and not out:
            return "no output"
        if len(ref) != len(out):
            return f"{len(out)} outputs where eager gives {len(ref)}"
        for number, (r, o) in enumerate(zip(ref, out, strict=True)):
            made = pair(r, o, judged[call] if judged else None)
            if isinstance(made, str):
                return f"output {number + 1} of {len(ref)}: {made}" if len(ref) > 1 else made
            by_output[number].append(made)
    return by_output


def _nothing_finite(pairs: Sequence[Sequence[Pair]]) -> str | None:
    total = sum(each.ref.numel() for output in pairs for each in output)
    if total and not any(
        bool(each.judged.any()) if each.judged is not None else each.ref.numel() for output in pairs for each in output
    ):
        finite = any(bool(each.ref.isfinite().any()) for output in pairs for each in output)
        return "everything is marked as padding" if finite else "eager's own output has no finite value to compare with"
    return None


def _top1(pairs: Sequence[Pair]) -> float | None:
    """Return the share of rows of the first output that have the same largest element."""
    agree = rows = 0
    for each in pairs:
        if each.ref.dim() == 0 or not each.ref.numel() or each.ref[0].numel() < 2:  # noqa: PLR2004 - one has no largest
            continue
        ref, out = (
            tensor.flatten(1).byte() if tensor.dtype is torch.bool else tensor.flatten(1)
            for tensor in (each.ref, each.out)
        )
        agree += int((ref.argmax(1) == out.argmax(1)).sum())
        rows += len(ref)
    return agree / rows if rows else None
