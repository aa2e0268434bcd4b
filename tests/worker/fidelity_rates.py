"""Measures how many purpose-broken outputs the check finds, and how many right ones pass, on seeds of the caller's.

    python -m tests.worker.fidelity_rates --times 200 --seed 12345

Sizes are drawn, too, so that other outputs are made than those of the tests.
"""

from __future__ import annotations

import argparse
from collections import Counter
from typing import TYPE_CHECKING

import torch
from tests.worker import test_fidelity_parts as made

from almaflow.worker.fidelity import compare, compare_random

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Generator, Tensor

NOISE_DB = {"float64": (80.0, 250.0), "tf32": made.NOISE_DB["float16"], **made.NOISE_DB}
CLASSES_EQUAL = {"float64": 1.0, "float32": 0.998, "tf32": 0.98, "float16": 0.98, "bfloat16": 0.96, "int8": 0.9}
"""Least share of classes that right conversions keep."""


def drawn(low: int, high: int, g: Generator) -> int:
    """Return a whole number between the two."""
    return int(torch.randint(low, high + 1, (), generator=g))


def logits(g: Generator) -> Tensor:
    """Of 6 classes, since others are told apart by that size."""
    return made.logits(g, rows=2 * drawn(6, 24, g))


def maps(g: Generator) -> Tensor:
    """Channels of a convolution after a relu, one of them dead."""
    channels, side = drawn(6, 40, g), drawn(5, 20, g)
    strength = 2 * torch.rand(1, channels, 1, 1, generator=g) + 0.5
    strength[0, -1] = 0.0
    side += side == 6
    return (strength * torch.randn(2 * drawn(1, 3, g), channels, side, side, generator=g)).relu()


def tokens(g: Generator) -> Tensor:
    """Hidden states of a transformer."""
    return torch.randn(2 * drawn(1, 4, g), drawn(6, 40, g), drawn(16, 96, g), generator=g)


def detections(g: Generator) -> Tensor:
    """Four coordinates in pixels and two scores."""
    places = drawn(64, 400, g)
    size = drawn(200, 1280, g)
    boxes = size * torch.rand(2, 4, places, generator=g)
    return torch.cat([boxes, (torch.randn(2, 2, places, generator=g) - 1).sigmoid()], 1)


def detections_last(g: Generator) -> Tensor:
    """The same with the places as rows."""
    return detections(g).transpose(1, 2).contiguous()


OUTPUTS: dict[str, Callable[[Generator], Tensor]] = {
    each.__name__: each for each in (logits, maps, tokens, detections, detections_last)
}


def classes(g: Generator, dtype: str) -> tuple[Tensor, Tensor]:
    """Return one of six classes for each place, and what a right conversion makes of it."""
    ref = torch.randint(0, 6, (drawn(2, 6, g), drawn(100, 400, g)), generator=g)
    other = torch.rand(ref.shape, generator=g) > CLASSES_EQUAL.get(dtype, 0.8)
    return ref, torch.where(other, (ref + 1) % 6, ref)


def mask(g: Generator, dtype: str) -> tuple[Tensor, Tensor]:
    """Return a mask, and what a right conversion makes of it."""
    ref = torch.rand(drawn(2, 6, g), drawn(100, 400, g), generator=g) < 0.1 + 0.8 * torch.rand((), generator=g)
    return ref, ref ^ (torch.rand(ref.shape, generator=g) > CLASSES_EQUAL.get(dtype, 0.8))


def rates(dtype: str, times: int, g: Generator) -> None:
    """Print what was found and what passed in this type, with the outputs that were judged wrongly."""
    kinds = list(OUTPUTS)
    refs = [(kind, OUTPUTS[kind](g)) for kind in (kinds[i % len(kinds)] for i in range(times))]
    right = [kind for kind, ref in refs if made.verdict(ref, _noisy(ref, dtype, g), dtype).ok]
    _tell(dtype, "right passed", times - len(right), times, Counter(k for k, _ in refs) - Counter(right))
    for name, (change, matter) in made.BREAKS.items():
        missed: Counter[str] = Counter()
        for i in range(times):
            kind = matter[i % len(matter)]
            ref = OUTPUTS[kind](g)
            missed[kind] += made.verdict(ref, change(ref, _noisy(ref, dtype, g)), dtype).ok
        _tell(dtype, name, missed.total(), times, missed)
    right_exact, one_class, ignored = 0, 0, 0
    for _ in range(times):
        (ref, out), (some, kept) = classes(g, dtype), mask(g, dtype)
        right_exact += compare([[ref]], [[out]], dtype).ok and compare([[some]], [[kept]], dtype).ok
        one_class += compare([[ref]], [[torch.where(ref == 4, 1, out)]], dtype).ok
        ignored += compare([[some]], [[torch.ones_like(some)]], dtype).ok
    _tell(dtype, "right classes and masks passed", times - right_exact, times, Counter())
    _tell(dtype, "one class in six wrong", one_class, times, Counter())
    _tell(dtype, "mask all true", ignored, times, Counter())


def _noisy(ref: Tensor, dtype: str, g: Generator) -> Tensor:
    made.NOISE_DB.update(NOISE_DB)
    return made.noisy(ref, dtype, g)


def random_rates(times: int, g: Generator) -> None:
    """Print the same of models with dropout."""
    right = baked = told = lost = 0
    for _ in range(times):
        rows, size, share = drawn(1, 8, g), drawn(8, 64, g), 0.1 + 0.4 * torch.rand((), generator=g)
        x, weight = torch.randn(rows, size, generator=g), torch.randn(size, 10, generator=g) / size**0.5

        def draws(count: int, x: Tensor = x, weight: Tensor = weight, share: Tensor = share) -> list[list[Tensor]]:
            kept = torch.rand(count, *x.shape, generator=g) >= share
            return [[x * each / (1 - share) @ weight] for each in kept]

        ref = draws(8)
        right += compare_random(ref, draws(8), "float32").ok
        found = compare_random(ref, draws(1) * 8, "float32")
        baked, told = baked + (not found.ok), told + (not found.ok or bool(found.notes))
        found = compare_random(ref, [[x @ weight]] * 8, "float32")
        lost += not found.ok or bool(found.notes)
    print(  # noqa: T201 - what the command is for
        f"random: right passed {right}, mask baked in found {baked}, told or found {told}, "
        f"dropout lost told or found {lost}, of {times}"
    )


def _tell(dtype: str, name: str, wrong: int, times: int, where: Counter[str]) -> None:
    beside = ", ".join(f"{count} {kind}" for kind, count in where.items() if count)
    told = f"{dtype:9} {name:32} {times - wrong} of {times}" + (f"; misjudged: {beside}" if beside else "")
    print(told, flush=True)  # noqa: T201 - what the command is for


def main() -> None:
    """Measure all types, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--types", nargs="*", default=list(NOISE_DB))
    asked = parser.parse_args()
    g = torch.Generator().manual_seed(asked.seed)
    random_rates(asked.times, g)
    for dtype in asked.types:
        rates(dtype, asked.times, g)


if __name__ == "__main__":
    main()
