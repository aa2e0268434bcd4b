"""Parts that are broken on purpose are found, and right outputs of each arithmetic pass, over many made outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from almaflow.worker.fidelity import compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

    from almaflow.records import Fidelity

pytestmark = pytest.mark.slow  # importing torch takes seconds

TIMES = 200
"""Made outputs of each arithmetic, right ones, and broken ones of each kind where there are fewer kinds of output."""
NOISE_DB = {
    "float32": (65.0, 125.0),
    "float16": (32.0, 58.0),
    "bfloat16": (18.0, 41.0),
    "int8": (11.0, 30.0),
    "int4": (11.0, 23.0),
}
"""From the worst to the best that right conversions have: docs/conversions.md."""


def logits(g: Generator, rows: int = 16, classes: int = 6) -> Tensor:
    import torch

    return 2 * torch.randn(rows, classes, generator=g)


def maps(g: Generator) -> Tensor:
    """Of a convolution after a relu: channels of other strengths, one of them dead and one nearly."""
    import torch

    strength = 2 * torch.rand(1, 12, 1, 1, generator=g) + 0.5
    strength[0, 7], strength[0, 9] = 0.0, 1e-4
    return (strength * torch.randn(2, 12, 8, 8, generator=g)).relu()


def tokens(g: Generator) -> Tensor:
    import torch

    return torch.randn(4, 12, 32, generator=g)


def detections(g: Generator) -> Tensor:
    """Four coordinates in pixels and two scores, at 128 places."""
    import torch

    boxes = 640 * torch.rand(2, 4, 128, generator=g)
    return torch.cat([boxes, (torch.randn(2, 2, 128, generator=g) - 1).sigmoid()], 1)


def detections_last(g: Generator) -> Tensor:
    return detections(g).transpose(1, 2).contiguous()


OUTPUTS = {each.__name__: each for each in (logits, maps, tokens, detections, detections_last)}


def noisy(output: Tensor, dtype: str, g: Generator) -> Tensor:
    """As a right conversion gives it: one noise level for all, but for parts in other units."""
    import torch

    low, high = NOISE_DB[dtype]
    level = low + (high - low) * torch.rand((), generator=g)
    noise = torch.randn(output.shape, generator=g) * 10 ** (-level / 20)
    if output.amax() < 64:
        return output + noise * output.square().mean().sqrt()
    places = 1 if output.shape[-1] == 6 else 2
    return output + noise * output.square().mean((0, places), keepdim=True).sqrt()


def calls(output: Tensor) -> list[list[Tensor]]:
    return [[half] for half in output.chunk(2)]


def verdict(ref: Tensor, out: Tensor, dtype: str) -> Fidelity:
    return compare(calls(ref), calls(out), dtype)


@pytest.mark.parametrize("dtype", NOISE_DB)
def test_right_outputs_pass(dtype: str) -> None:
    import torch

    g = torch.Generator().manual_seed(len(dtype))
    made = [OUTPUTS[kind](g) for kind in OUTPUTS for _ in range(TIMES // len(OUTPUTS))]
    found = [verdict(ref, noisy(ref, dtype, g), dtype) for ref in made]
    wrong = [each.reason for each in found if not each.ok]
    assert len(wrong) <= TIMES // 100, wrong


def _channel(change: Callable[[Tensor], Tensor], index: int = 4) -> Callable[[Tensor, Tensor], Tensor]:
    def broken(ref: Tensor, out: Tensor) -> Tensor:
        out = out.clone()
        place = (..., index) if ref.shape[-1] == 6 else (slice(None), index)
        out[place] = change(out[place])
        return out

    return broken


def _copy_of_another(_ref: Tensor, out: Tensor) -> Tensor:
    out = out.clone()
    if out.shape[-1] == 6:
        out[..., 4] = out[..., 5]
    else:
        out[:, 4] = out[:, 5]
    return out


def _rows_swapped(_ref: Tensor, out: Tensor) -> Tensor:
    return out[[1, 0, *range(2, len(out))]]


def _scores_lost(_ref: Tensor, out: Tensor) -> Tensor:
    out = out.clone()
    (out[..., 4:] if out.shape[-1] == 6 else out[:, 4:]).zero_()
    return out


def _scores_in_steps_of_the_boxes(ref: Tensor, _out: Tensor) -> Tensor:
    step = ref.amax() / 255
    return (ref / step).round() * step


def _branch_missing(_ref: Tensor, out: Tensor) -> Tensor:
    """A sixth of the output or more came from it."""
    out = out.clone()
    out[:, : max(1, out.shape[1] // 4)] = 0
    return out


def _mask_ignored(ref: Tensor, out: Tensor) -> Tensor:
    """One row attends to what is masked, and answers something else."""
    out = out.clone()
    out[0] += ref[0].std() * (ref[-1] - ref[0]) / (ref[-1] - ref[0]).std()
    return out


BREAKS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], tuple[str, ...]]] = {
    "channel zero": (_channel(lambda part: 0 * part), tuple(OUTPUTS)),
    "channel constant": (_channel(lambda part: 0 * part + part.mean()), tuple(OUTPUTS)),
    "channel a copy": (_copy_of_another, tuple(OUTPUTS)),
    "channel in another order": (_channel(lambda part: part.roll(1, 0).roll(1, -1)), tuple(OUTPUTS)),
    "channel biased": (_channel(lambda part: part + 2 * part.square().mean().sqrt()), tuple(OUTPUTS)),
    "rows swapped": (_rows_swapped, tuple(OUTPUTS)),
    "branch missing": (_branch_missing, tuple(OUTPUTS)),
    "mask ignored": (_mask_ignored, ("tokens", "maps")),
    "scores lost": (_scores_lost, ("detections", "detections_last")),
    "scores in steps": (_scores_in_steps_of_the_boxes, ("detections", "detections_last")),
}


@pytest.mark.parametrize("dtype", NOISE_DB)
@pytest.mark.parametrize("name", BREAKS)
def test_broken_parts_are_found(name: str, dtype: str) -> None:
    import torch

    change, kinds = BREAKS[name]
    g = torch.Generator().manual_seed(len(name))
    missed = []
    for ref in [OUTPUTS[kinds[i % len(kinds)]](g) for i in range(TIMES // len(OUTPUTS))]:
        found = verdict(ref, change(ref, noisy(ref, dtype, g)), dtype)
        if found.ok:
            missed.append((tuple(ref.shape), found.sqnr_db, found.worst_part, found.worst_part_db))
    assert not missed
