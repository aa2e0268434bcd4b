"""Compares what marked functions answer with what they answered eagerly: tensors, numbers and text, at any depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from almaflow.models.outputs import FIGURES, found_outputs, matched
from almaflow.worker.fidelity import coarser, compare, tolerance_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from almaflow.records import Fidelity

NOTHING = "the function gives nothing that could be compared"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a call gave, as copies: runtimes use their memory again."""

    figures: list[tuple[str, bool, Any]]
    words: tuple[str | bytes | None, ...]

    @classmethod
    def of(cls, output: object) -> Answer:
        """Copy what a call gave."""
        figures = [(name, is_number, tensor.clone()) for name, is_number, tensor in found_outputs(output)]
        return cls(figures, tuple(_words(output)))


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far answers agree with eager's."""

    reason: str | None
    """Why they do not agree; None where they do."""
    fidelity: Fidelity | None
    """Of their tensors and numbers."""
    equal_share: float | None
    """Share of equal ones among integers, booleans and texts, 0 to 1."""


def agreement(references: Sequence[Answer], answers: Sequence[Answer], types: Iterable[str]) -> Agreement:
    """Judge answers by those of eager, at the tolerance of the coarsest type that was computed in."""
    tolerance = tolerance_of(reduce(coarser, types, "float32"))
    fidelity, reason = None, None
    if any(each.figures for each in references):
        pairs = [
            matched(ref.figures, found_outputs([tensor for *_, tensor in out.figures]))
            for ref, out in zip(references, answers, strict=True)
        ]
        fidelity = compare([ref for ref, _ in pairs], [out for _, out in pairs], tolerance)
        reason = fidelity.reason
    missing = object()  # equal to no text
    words = [
        pair
        for ref, out in zip(references, answers, strict=True)
        for pair in zip_longest(ref.words, out.words, fillvalue=missing)
        if pair != (None, None)
    ]
    share = sum(one == other for one, other in words) / len(words) if words else None
    if reason is None and share is not None and share < tolerance.least_equal:
        reason = f"{100 * share:.3g}% of the texts are equal, at least {100 * tolerance.least_equal:g}% expected"
    if fidelity is None and not words and any(each.words != (None,) for each in (*references, *answers)):
        reason = NOTHING
    shares = [each for each in (share, fidelity.equal_share if fidelity else None) if each is not None]
    return Agreement(reason, fidelity, min(shares, default=None))


def _words(output: object) -> Iterator[str | bytes | None]:
    """Yield the texts, and the places where nothing is."""
    if output is None or isinstance(output, str | bytes):
        yield output
    elif isinstance(output, FIGURES):
        return
    elif isinstance(output, Mapping):
        for key in output:
            yield from _words(output[key])
    elif isinstance(output, tuple | list):
        for each in output:
            yield from _words(each)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from _words(getattr(output, field.name))
