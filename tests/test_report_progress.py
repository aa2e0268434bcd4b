from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from dataclasses import replace
from typing import Self

import pytest
from rich.console import Console
from tests.made_jobs import failed, ok, planned, unavailable

from almaflow.records import FailureKind
from almaflow.report.progress import REFRESH_PER_S, Progress, duration

PLAN = [planned("EAGER"), planned("ONNX_CPU"), unavailable("ONNX_GPU").planned]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def __enter__(self) -> Self:
        return self


def made() -> tuple[Progress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return Progress(Console(file=stream, width=80), clock), stream, clock


def test_a_log_gets_one_plain_line_per_event() -> None:
    progress, stream, clock = made()
    with progress:
        progress.start(PLAN, {"EAGER": 40.0, "ONNX_CPU": 60.0})
        progress.phase("EAGER", "load")
        progress.phase("EAGER", "measure")
        clock.now = 30.0
        progress.finish(ok("EAGER", 20.0))
        progress.warn("the machine is busy [50%]")
        progress.finish(failed("ONNX_CPU", FailureKind.CRASHED, message="killed" + " far away" * 12 + "\nmore"))
        progress.finish(unavailable("ONNX_GPU"))
    assert stream.getvalue().splitlines() == [
        "3 conversions planned, about 1 min 40 s to go",
        "EAGER: load",
        "EAGER: measure",
        "[1/3, about 1 min 00 s to go] EAGER: ok in 30 s: 20.00 ms",
        "warning: the machine is busy [50%]",
        "[2/3, about 0 s to go] ONNX_CPU: failed in 4 s: crashed in convert: killed" + " far away" * 12,
        "[3/3] ONNX_GPU: unavailable: needs CUDA",
    ]


def test_without_estimates_the_mean_of_those_that_ran_is_taken() -> None:
    progress, _, _ = made()
    progress.start([*PLAN, planned("JIT_TRACE")])
    assert progress.remaining_s() is None
    progress.finish(unavailable("ONNX_GPU"))
    assert progress.remaining_s() is None
    progress.finish(replace(ok("EAGER"), started_at=0.0, ended_at=30.0))
    assert progress.remaining_s() == pytest.approx(60.0)


def test_what_has_run_of_the_current_one_is_taken_off() -> None:
    progress, _, clock = made()
    progress.start(PLAN, {"EAGER": 40.0, "ONNX_CPU": 60.0})
    progress.phase("EAGER", "load")
    clock.now = 15.0
    progress.phase("EAGER", "measure")
    assert progress.remaining_s() == pytest.approx(85.0)
    clock.now = 100.0
    assert progress.remaining_s() == pytest.approx(60.0)


def test_an_interrupted_or_unstable_one_is_called_so() -> None:
    progress, stream, _ = made()
    progress.start(PLAN)
    outcome = ok("EAGER", 20.0)
    assert outcome.measurement is not None
    progress.finish(replace(outcome, measurement=replace(outcome.measurement, stable=False)))
    progress.finish(replace(failed("ONNX_CPU"), interrupted=True))
    assert "EAGER: ok in 30 s: 20.00 ms, unstable" in stream.getvalue()
    assert "ONNX_CPU: interrupted in 4 s" in stream.getvalue()


def test_a_terminal_shows_what_runs_and_what_is_next() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(Console(file=stream, width=80, force_terminal=True), clock)
    progress.start(PLAN, {"EAGER": 40.0, "ONNX_CPU": 60.0})
    clock.now = 2.0
    progress.phase("EAGER", "convert")
    clock.now = 10.0
    progress.phase("EAGER", "measure")
    progress.close()
    progress.close()
    shown = stream.getvalue()
    assert "EAGER: measure, 8 s" in shown
    assert "0 of 3 done, 10 s so far, about 1 min 32 s to go; next: ONNX_CPU, ONNX_GPU" in shown


def test_forced_colours_do_not_make_a_log_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress, stream, _ = made()
    progress.start(PLAN)
    progress.phase("EAGER", "load")
    progress.close()
    assert stream.getvalue().splitlines()[-1] == "EAGER: load"


def test_stdout_stays_for_the_table() -> None:
    code = (
        "from almaflow.report.progress import Progress;"
        "p = Progress(); p.start([]); p.warn('w'); p.close(); print('table')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "table\n"
    assert done.stderr.splitlines() == ["0 conversions planned, about 0 s to go", "warning: w"]


def test_the_live_display_leaves_the_processor_to_the_worker() -> None:
    assert REFRESH_PER_S <= 2
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        progress = Progress(Console(file=stream, force_terminal=True, width=100))
        progress.start([planned(f"CONVERSION_{i}") for i in range(70)], {"CONVERSION_0": 60.0})
        progress.phase("CONVERSION_0", "measure")
        before, began = time.process_time(), time.monotonic()
        time.sleep(1.5)
        used = (time.process_time() - before) / (time.monotonic() - began)
        progress.close()
    os.close(master)
    # About 0.1% of one processor here; the limit leaves room for a slow machine and still fails a display that spins.
    assert used < 0.05


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (3720, "1 h 02 min")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
