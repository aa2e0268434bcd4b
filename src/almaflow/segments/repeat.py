"""Repeats calls of a marked function, eagerly and with conversions in place, and times both in turn."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import fmean, median
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from almaflow.models.state import set_generators
from almaflow.segments.agreement import Agreement, Answer, agreement
from almaflow.segments.clock import RUNNING, RunningCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from almaflow.records.profile import Call
    from almaflow.segments.accelerate import Accelerated
    from almaflow.segments.calls import Arguments
    from almaflow.segments.stitched import Stitched

MOST_WARMUPS = 6
"""Passes over all calls after which PyTorch is not waited for to find no further graph."""
SEED = 0


@dataclass(frozen=True)
class Repeated:
    """The same calls, eagerly and with conversions in place."""

    calls: tuple[Call, ...]
    """Of the last round, with conversions in place."""
    rounds_ms: tuple[float, ...]
    """Of each round, the mean of a call with conversions in place."""
    python_ms: float
    """Python's share of a call, as the median over the rounds."""
    eager_rounds_ms: tuple[float, ...]
    agreement: Agreement


def repeat(function: Accelerated, given: Sequence[Arguments], stitched: Stitched, rounds: int) -> Repeated:
    """Repeat calls with what they were given, so that each of both ways has warmed up.

    Args:
        function: The function.
        given: The arguments of each call.
        stitched: Runs it with conversions in place.
        rounds: How often all calls are repeated.

    Raises:
        Exception: whatever the application raises.
    """

    def in_place(each: Arguments) -> object:
        return stitched.call(function, each.args, each.kwargs)

    def eagerly(each: Arguments) -> object:
        token = RUNNING.set(RunningCall(0, function.name))  # marked functions inside of it run as they are
        try:
            with stitched.gradients():
                return function.run(*each.args, **each.kwargs)
        finally:
            RUNNING.reset(token)

    with _own_draws():
        references = [Answer.of(_seeded(eagerly, each)) for each in given]
        answers: list[Answer] = []
        for _ in range(MOST_WARMUPS):
            before = stitched.conversions.found
            answers = [Answer.of(_seeded(in_place, each)) for each in given]
            if stitched.conversions.found == before:
                break
        times: dict[bool, list[float]] = {True: [], False: []}
        python: list[float] = []
        calls: list[Call] = []
        for number in range(rounds):
            for ours in (True, False) if number % 2 else (False, True):  # neither is always the first
                took = []
                calls = [] if ours else calls
                for each in given:
                    took.append(_timed_ms(in_place if ours else eagerly, each))
                    if ours and stitched.last:
                        calls.append(stitched.last)
                times[ours].append(fmean(took))
            python.append(fmean(sum(call.python_ms) for call in calls))
    agreed = agreement(references, answers, stitched.conversions.types)
    return Repeated(tuple(calls), tuple(times[True]), median(python), tuple(times[False]), agreed)


def _seeded(run: Callable[[Arguments], object], given: Arguments) -> object:
    set_generators(SEED)
    return run(given)


def _timed_ms(run: Callable[[Arguments], object], given: Arguments) -> float:
    set_generators(SEED)
    began = time.perf_counter()
    run(given)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call] # PyTorch's annotations
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - began)


@contextmanager
def _own_draws() -> Iterator[None]:
    """Give the application its generators back as they were."""
    before: Any = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that applications draw from
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])  # noqa: NPY002


@contextmanager
def own_threads(count: int | None) -> Iterator[list[str]]:
    """Run with as many threads as the segments were measured with, and yield a line where these are others."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield []
        return
    torch.set_num_threads(count)
    try:
        what = "1 thread" if count == 1 else f"{count} threads"
        yield [f"run with {what}, as the segments were measured; the application has {before}"]
    finally:
        torch.set_num_threads(before)
