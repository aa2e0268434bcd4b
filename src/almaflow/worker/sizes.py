"""Checks and times a conversion at sizes other than the example's, at which it was not converted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from almaflow.conversions.built.evidence import dynamo_graphs
from almaflow.models.dynamic import axes_of, present_sizes, resized, sizes_to_check, timed_sizes
from almaflow.records import BATCH, SizeMeasurement, size_text
from almaflow.records.protocol import round_request
from almaflow.worker.error_text import described
from almaflow.worker.failures import FixedSizeError, WrongOutputError
from almaflow.worker.inputs import Inputs
from almaflow.worker.rounds import Rounds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from almaflow.conversions.converted import ConvertedModel
    from almaflow.models.batches import Batch
    from almaflow.models.call_form import CallForm
    from almaflow.records import Fidelity, ModelSpec
    from almaflow.records.protocol import EventWriter
    from almaflow.worker.check import Checker

ROUNDS = 3
"""Rounds at each size, one after the other. A measurement at the example's size has three times as many or more."""


def batches_of_sizes(spec: ModelSpec, form: CallForm, batches: Sequence[Batch]) -> list[tuple[dict[str, int], Batch]]:
    """Return each size at which outputs are compared, with a batch of it; none where all sizes are fixed.

    Raises:
        UsageError: the dynamic dimensions are not those of the batches.
    """
    axes = axes_of(spec, form.names, batches[0])
    sizes = sizes_to_check(spec, present_sizes(axes, batches[0]))
    return [(size, resized(batches, axes, size)) for size in sizes]


@dataclass(frozen=True)
class _AtSize:
    size: dict[str, int]
    checker: Checker
    """Compares with what eager answered at this size."""
    found: Fidelity | None = None
    recompiles: int | None = None


class OtherSizes:
    """The sizes other than the example's, of one conversion."""

    def __init__(self, checker: Checker) -> None:
        sized = checker.reference.sized
        self._at = [_AtSize(size, checker_at(checker, size, batch, answer)) for size, batch, answer in sized]
        spec, batches, names = checker.task.model, checker.reference.batches, checker.reference.call_form.names
        # The figures of one process are kept: further ones have nothing to add.
        first = bool(self._at) and checker.task.replicate == 0
        self._timed = timed_sizes(spec, present_sizes(axes_of(spec, names, batches[0]), batches[0])) if first else []

    def check(self, converted: ConvertedModel) -> Exception | None:
        """Compare the outputs at each size with eager's, and return the first fault."""
        for number, each in enumerate(self._at):
            before = dynamo_graphs() if converted.traits.dynamo else 0
            where = size_text(each.size)
            try:
                found = each.checker.judged(converted.call)
            except WrongOutputError as error:
                return WrongOutputError(f"at {where}: {error}")
            except Exception as error:  # noqa: BLE001 - whatever a runtime raises for a size that it does not take
                fault = FixedSizeError(f"right at the size of the example, and fails at {where}: {described(error)}")
                fault.__cause__ = error
                return fault
            if not found.ok:
                return WrongOutputError(f"right at the size of the example, and wrong at {where}: {found.reason}")
            graphs = dynamo_graphs() - before if converted.traits.dynamo else None
            self._at[number] = replace(each, found=found, recompiles=graphs)
        return None

    def time(
        self, converted: ConvertedModel, synchronize: Callable[[], None], events: EventWriter
    ) -> tuple[SizeMeasurement, ...]:
        """Warm up and take some rounds at each size that was asked for."""
        asked = [each for each in self._at if each.size in self._timed]
        return tuple(_timed(each, converted, synchronize, events) for each in asked)


def checker_at(checker: Checker, size: dict[str, int], batch: Batch, answer: Any) -> Checker:
    """Return a checker for one size, at which eager gives this answer to the batch."""
    model = replace(checker.task.model, batch_size=size.get(BATCH, checker.task.model.batch_size))
    task = replace(checker.task, model=model)
    return replace(
        checker,
        reference=replace(checker.reference, batches=[batch], outputs=[answer]),
        inputs=Inputs([batch], checker.planned, task),
        task=task,
    )


def _timed(
    each: _AtSize, converted: ConvertedModel, synchronize: Callable[[], None], events: EventWriter
) -> SizeMeasurement:
    task = each.checker.task
    rounds = rounds_at(each.checker, converted, synchronize, events)
    return SizeMeasurement(
        size=each.size,
        samples_ms=tuple(rounds.samples_ms),
        sqnr_db=each.found.sqnr_db if each.found else None,
        max_abs_diff=each.found.max_abs_diff if each.found else None,
        recompiles=each.recompiles,
        wall_s=sum(each.wall_s for each in rounds.rounds) if task.measure.streams > 1 else None,
    )


def rounds_at(
    checker: Checker,
    converted: ConvertedModel,
    synchronize: Callable[[], None],
    events: EventWriter,
    more: Callable[[int], bool] = lambda _samples: False,
) -> Rounds:
    """Warm up at a checker's size, and take ``ROUNDS`` rounds there, or more while they are wanted after the others.

    Args:
        checker: Has the inputs of that size.
        converted: Is called.
        synchronize: Waits for the device.
        events: Is told the phases.
        more: Whether further rounds are wanted after so many samples.
    """
    inputs, task = checker.inputs, checker.task
    rounds = Rounds(lambda index: converted.call(inputs.get(index)), synchronize, task, events, inputs.prepare)
    while len(rounds.rounds) < ROUNDS or more(len(rounds.samples_ms)):
        rounds.take(round_request(task.measure, len(rounds.rounds)))
    return rounds
