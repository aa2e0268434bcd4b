"""Compares what marked functions answer with what they answered eagerly: tensors, numbers and text, at any depth."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from almaflow.models.outputs import FIGURES, found_outputs
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
    keys: tuple[str, ...]
    """Those of mappings, which an application may take from what a graph answers."""

    @classmethod
    def of(cls, output: object) -> Answer:
        """Copy what a call gave."""
        figures = [(name, is_number, tensor.clone()) for name, is_number, tensor in found_outputs(output)]
        return cls(figures, tuple(_words(output)), tuple(_keys(output)))


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
        # In their order, since the application's own code has put both together.
        tensors = [[[tensor for *_, tensor in each.figures] for each in side] for side in (references, answers)]
        fidelity = compare(tensors[0], tensors[1], tolerance)
        reason = fidelity.reason
    words = _pairs([each.words for each in references], [each.words for each in answers])
    keys = _pairs([each.keys for each in references], [each.keys for each in answers])
    share = _equal_share(words)
    for what, found in (("keys", _equal_share(keys)), ("texts", share)):
        if reason is None and found is not None and found < tolerance.least_equal:
            reason = f"{100 * found:.3g}% of the {what} are equal, at least {100 * tolerance.least_equal:g}% expected"
    if fidelity is None and not words and any(each.words != (None,) for each in (*references, *answers)):
        reason = NOTHING
    shares = [each for each in (share, fidelity.equal_share if fidelity else None) if each is not None]
    return Agreement(reason, fidelity, min(shares, default=None))


def _pairs(references: Iterable[Sequence[Any]], answers: Iterable[Sequence[Any]]) -> list[tuple[Any, Any]]:
    """Return the parts at the same places; what only one side has is beside what equals nothing."""
    missing = object()
    return [
        pair
        for ref, out in zip(references, answers, strict=True)
        for pair in zip_longest(ref, out, fillvalue=missing)
        if pair != (None, None)
    ]


def _equal_share(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    return sum(one == other for one, other in pairs) / len(pairs) if pairs else None


def _keys(output: object) -> Iterator[str]:
    """Yield the keys of mappings."""
    if isinstance(output, Mapping):
        for key, value in output.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(output, tuple | list):
        for each in output:
            yield from _keys(each)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        for field in dataclasses.fields(output):
            yield from _keys(getattr(output, field.name))


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
