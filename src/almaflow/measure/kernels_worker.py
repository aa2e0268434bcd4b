"""A small network timed by what times a job's conversion, in a process of its own that is forked for it.

How often memory goes back to the system and is asked for again depends on what a process allocated and gave back
before, and can be most of what a call takes: depthwise convolutions built and called here, and nothing else, took
three times as long as in a job, whose worker had loaded weights and compared outputs. So the same code runs here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, NoReturn

from almaflow.errors import AlmaflowError
from almaflow.measure.events import EventWriter, Turn
from almaflow.measure.rounds_plan import MINIMUM_ROUNDS
from almaflow.records import HardwareSpec, MeasureSpec, Prepared, WorkerTask, read_json, to_dict, write_json

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from almaflow.records import Measurement, ModelSpec, PlannedConversion

PASS_TIME_S = 0.025
"""Of timed calls of one network in one pass."""
PASS_CALLS = 3
MEASURE = MeasureSpec(
    min_samples=PASS_CALLS * MINIMUM_ROUNDS,
    min_time_s=PASS_TIME_S * MINIMUM_ROUNDS,
    warmup_calls=2,
    warmup_time_s=0.05,
    fidelity_inputs=2,
)
PREPARED, WHY = "prepared.json", "why"


def serve(spec: ModelSpec, planned: PlannedConversion, threads: int, place: Path, asker: Connection) -> NoReturn:
    """Build the network when first asked, and time it at each further question, until nobody is there to ask.

    Args:
        spec: The network.
        planned: The conversion.
        threads: Of the runtimes.
        place: A directory of its own, which is made.
        asker: Is sent what came of building, and single calls in ms with the control workload before them.
    """
    with suppress(EOFError, BrokenPipeError):
        asker.recv()
        try:
            _build_and_time(spec, planned, threads, place, asker)
        except EOFError:
            raise
        except AlmaflowError as error:
            asker.send({"failed": spec.name, "why": str(error)})
        except Exception as error:  # noqa: BLE001 - a converter raises what it likes; the others count without it
            asker.send({"failed": spec.name, "why": f"{type(error).__name__}: {error}"[:300]})
    os._exit(0)  # converted code likes to crash as it is taken down


def _build_and_time(spec: ModelSpec, planned: PlannedConversion, threads: int, place: Path, asker: Connection) -> None:
    from almaflow.measure.steps import run_conversion

    place.mkdir()
    os.chdir(place)  # converters write files where they are
    hardware = HardwareSpec("here", planned.device, threads)
    task = WorkerTask(spec, hardware, MEASURE, None, str(place), str(place / "reference.pt"))
    made = _prepared(task)
    answers = _Answers(asker, {"built": spec.name, "workload": to_dict(made.workload)})
    task = replace(task, conversion=planned, weights_digest=made.weights_digest)
    run_conversion(task, _nobody_listens(), answers, perf_counter(), answers.keep)


def _prepared(task: WorkerTask) -> Prepared:
    """What the preparing worker of a job finds out, by a process as short-lived as that is."""
    place = Path(task.work_dir)
    child = os.fork()
    if not child:
        _prepare(task, place)
    os.waitpid(child, 0)
    if not (place / PREPARED).exists():
        why = (place / WHY).read_text(encoding="utf-8") if (place / WHY).exists() else "its process died"
        raise AlmaflowError(why)
    return read_json(place / PREPARED, Prepared)


def _prepare(task: WorkerTask, place: Path) -> NoReturn:
    from almaflow.measure.prepare import prepare

    try:
        prepare(task, _nobody_listens(), _NoTurns(), lambda made: write_json(place / PREPARED, made))
    except Exception as error:  # noqa: BLE001 - a model raises what it likes
        (place / WHY).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
    os._exit(0)


def _nobody_listens() -> EventWriter:
    return EventWriter(os.open(os.devnull, os.O_WRONLY))


class _NoTurns:
    """As ``worker.Turns`` when the parent asks to finish."""

    def next(self) -> None:
        """No turn."""


@dataclass
class _Answers:
    """As ``worker.Turns``: before it waits for the next question, it answers the last one."""

    _asker: Connection
    _first: dict[str, Any] | None
    """The answer to the question that began it all; the round that a worker takes by itself is not told."""
    _last: Measurement | None = None

    def keep(self, measurement: Measurement) -> None:
        """What is known so far."""
        self._last = measurement

    def next(self) -> Turn:
        """Wait for the next question; it ends the process where nobody is left to ask."""
        if self._first is not None:
            self._asker.send(self._first)
            self._first = None
        elif self._last is not None:
            last = self._last.rounds[-1]
            self._asker.send((self._last.samples_ms[-last.count :], last.control_ms))
        self._asker.recv()
        return Turn(len(self._last.rounds) if self._last else 0, PASS_CALLS, PASS_TIME_S, 100 * PASS_TIME_S)
