from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.support.example_jobs import failed, in_rounds, ok, planned, unavailable

from almaflow.records import FailureKind, MeasureSpec, Status
from almaflow.report.console import JobConsole
from almaflow.report.progress import REFRESH_PER_S, TerminalProgress, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

PLAN = [planned("EAGER"), planned("ONNX_CPU"), unavailable("ONNX_GPU").planned]
ESTIMATE_S = {"EAGER": 40.0, "ONNX_CPU": 60.0}

FIVE = MeasureSpec(min_time_s=1.0, max_time_s=9.0)
"""Rounds of one process are expected to take 5 s: half way between the least and the most."""

THREE_TIMES = replace(FIVE, replicates=3)


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


def made() -> tuple[TerminalProgress, io.StringIO, Clock]:
    stream, clock = io.StringIO(), Clock()
    return TerminalProgress(Console(file=stream, width=80), clock), stream, clock


def started(
    measure: MeasureSpec | None = FIVE, estimate_s: Mapping[str, float] | None = ESTIMATE_S
) -> tuple[TerminalProgress, io.StringIO, Clock]:
    progress, stream, clock = made()
    progress.start(PLAN, measure, estimate_s)
    return progress, stream, clock


def get_ready(progress: TerminalProgress, clock: Clock, name: str, took_s: float) -> None:
    """As a worker of that conversion comes up."""
    progress.phase(name, "start")
    progress.phase(name, "convert")
    clock.now += took_s
    progress.phase(name, "ready")
    progress.ready(planned(name))


def take_turns(progress: TerminalProgress, clock: Clock, *names: str, rounds: int = 9, took_s: float = 10.0) -> None:
    """Rounds in turns, as workers and their parent tell of them."""
    for number in range(1, rounds + 1):
        for name in names:
            progress.turns(name, number, 0, len(names))
            progress.phase(name, "measure")
            progress.phase(name, "ready")
            clock.now += took_s / rounds / len(names)


def test_a_log_gets_one_line_for_each_conversion() -> None:
    progress, stream, clock = started()
    with closing(progress):
        get_ready(progress, clock, "EAGER", 40.0)
        get_ready(progress, clock, "ONNX_CPU", 60.0)
        take_turns(progress, clock, "EAGER", "ONNX_CPU", rounds=50)
        progress.finish(ok("EAGER", 20.0))
        progress.warn("the machine is busy [50%]")
        progress.finish(failed("ONNX_CPU", FailureKind.CRASHED, message="killed" + " far away" * 12 + "\nmore"))
        progress.finish(unavailable("ONNX_GPU"))
    assert stream.getvalue().splitlines() == [
        "3 conversions planned, about 1 min 50 s to go",
        "timing 2 in turns",
        "[1/3] EAGER: ok in 8 s: 20.00 ms",
        "warning: the machine is busy [50%]",
        "[2/3] ONNX_CPU: failed in 4 s: crashed in convert: killed" + " far away" * 12,
        "[3/3] ONNX_GPU: unavailable: needs CUDA",
    ]


def test_a_log_of_more_detail_has_a_line_for_each_phase() -> None:
    progress, stream, clock = started(replace(FIVE, log_level="INFO"))
    get_ready(progress, clock, "EAGER", 40.0)
    take_turns(progress, clock, "EAGER")
    assert stream.getvalue().splitlines()[1:] == ["EAGER: start", "EAGER: convert", "timing 1 in turns"]


def test_one_conversion_is_one() -> None:
    progress, stream, _ = made()
    progress.start(PLAN[:1])
    assert stream.getvalue() == "1 conversion planned\n"


def test_fresh_processes_of_the_same_conversions_tell_the_same_again() -> None:
    progress, stream, clock = started(THREE_TIMES)
    for _ in range(3):
        get_ready(progress, clock, "EAGER", 40.0)
        get_ready(progress, clock, "ONNX_CPU", 60.0)
        take_turns(progress, clock, "EAGER", "ONNX_CPU")
    progress.finish(ok("EAGER", 20.0))
    assert stream.getvalue().splitlines().count("timing 2 in turns") == 3


def test_what_is_left_counts_every_process_of_a_conversion() -> None:
    progress, _, clock = started(THREE_TIMES)
    assert progress.estimate.remaining_s() == pytest.approx(3 * (40 + 60 + 5 + 5))
    get_ready(progress, clock, "EAGER", 40.0)
    get_ready(progress, clock, "ONNX_CPU", 60.0)
    assert progress.estimate.remaining_s() == pytest.approx(2 * (40 + 60) + 3 * 10)
    take_turns(progress, clock, "EAGER", "ONNX_CPU", took_s=4.0)
    assert progress.estimate.remaining_s() == pytest.approx(2 * (40 + 60) + 3 * 10 - 4)
    progress.phase("EAGER", "start")  # settled sooner than expected
    assert progress.estimate.remaining_s() == pytest.approx(2 * (40 + 60 + 10))


def test_a_later_process_takes_as_long_as_the_last_one_whatever_was_estimated() -> None:
    progress, _, clock = started(replace(FIVE, replicates=2))
    get_ready(progress, clock, "EAGER", 10.0)
    assert progress.estimate.remaining_s() == pytest.approx(10 + 2 * 60 + 4 * 5)


def test_without_estimates_the_mean_of_those_that_got_ready_is_taken() -> None:
    progress, _, clock = made()
    progress.start([*PLAN, planned("JIT_TRACE"), planned("COMPILE_OPENVINO")], FIVE)
    assert progress.estimate.remaining_s() is None
    progress.finish(unavailable("ONNX_GPU"))
    assert progress.estimate.remaining_s() is None
    get_ready(progress, clock, "EAGER", 20.0)
    get_ready(progress, clock, "ONNX_CPU", 40.0)
    assert progress.estimate.remaining_s() == pytest.approx(2 * 30 + 4 * 5)


def test_one_that_failed_on_its_way_is_no_measure_for_the_others() -> None:
    progress, _, clock = made()
    progress.start(PLAN, FIVE)
    progress.phase("EAGER", "start")
    clock.now = 300.0
    progress.finish(failed("EAGER"))
    assert progress.estimate.remaining_s() is None


def test_what_has_run_of_the_current_one_is_taken_off() -> None:
    progress, _, clock = started()
    progress.phase("EAGER", "load")
    clock.now = 15.0
    progress.phase("EAGER", "warm-up")
    assert progress.estimate.remaining_s() == pytest.approx(25 + 60 + 10)
    clock.now = 100.0
    assert progress.estimate.remaining_s() is None  # what was expected is wrong


def test_rounds_that_take_longer_than_expected_take_nothing_off_what_comes_after_them() -> None:
    progress, _, clock = started()
    get_ready(progress, clock, "EAGER", 40.0)
    take_turns(progress, clock, "EAGER", took_s=4.0)
    assert progress.estimate.remaining_s() == pytest.approx(1 + 60 + 5)
    take_turns(progress, clock, "EAGER", took_s=40.0)
    assert progress.estimate.remaining_s() == pytest.approx(60 + 5)


def test_eager_that_takes_turns_again_to_be_compared_with_is_expected_to_take_as_long() -> None:
    progress, _, clock = started(replace(FIVE, interleave=2))
    get_ready(progress, clock, "EAGER", 40.0)
    take_turns(progress, clock, "EAGER", took_s=5.0)
    get_ready(progress, clock, "ONNX_CPU", 60.0)
    progress.turns("EAGER", 1, 0, 2)
    assert progress.estimate.remaining_s() == pytest.approx(10)


@pytest.mark.parametrize(
    ("measure", "expected_s"),
    [
        (FIVE, 5.0),
        (replace(FIVE, rel_precision=None), 1.0),  # nothing to go on for
        (None, 0.0),
    ],
)
def test_rounds_are_expected_to_end_half_way_between_the_least_and_the_most(
    measure: MeasureSpec | None, expected_s: float
) -> None:
    progress, _, _ = started(measure)
    assert progress.estimate.remaining_s() == pytest.approx(100 + 2 * expected_s)


steps = st.lists(
    st.tuples(
        st.sampled_from(["start", "convert", "ready", "turn", "finish"]),
        st.sampled_from(["EAGER", "ONNX_CPU"]),
        st.floats(0.0, 200.0),
    ),
    max_size=30,
)


@given(steps, st.integers(1, 3), st.booleans())
def test_what_is_left_is_never_negative_and_does_not_grow_as_time_passes(
    drawn: list[tuple[str, str, float]], replicates: int, estimated: bool
) -> None:
    """Whatever happens in whatever order, as when workers die."""
    progress, _, clock = started(replace(FIVE, replicates=replicates), ESTIMATE_S if estimated else None)
    for what, name, later_s in drawn:
        if what == "turn":
            progress.turns(name, 1, 0, 2)
        elif what == "ready":
            progress.ready(planned(name))
        elif what == "finish":
            progress.finish(failed(name))
        else:
            progress.phase(name, what)
        before = progress.estimate.remaining_s()
        clock.now += later_s
        after = progress.estimate.remaining_s()
        if before is None:
            assert after is None
        elif after is not None:
            assert 0.0 <= after <= before


def test_what_the_model_needed_to_get_ready_is_not_shown_as_if_it_still_ran() -> None:
    """It is prepared before the plan is known, and serves as the control from then on."""
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=80, force_terminal=True), clock)
    progress.phase("resnet18", "load")
    progress.start(PLAN, FIVE)
    progress.close()
    assert stream.getvalue().split("3 conversions planned")[0] == "preparing resnet18\n"
    assert "resnet18" not in stream.getvalue().split("3 conversions planned")[1]


def test_an_interrupted_or_unstable_one_is_called_so() -> None:
    progress, stream, _ = made()
    progress.start(PLAN)
    outcome = ok("EAGER", 20.0)
    assert outcome.measurement is not None
    progress.finish(replace(outcome, measurement=replace(outcome.measurement, stable=False)))
    progress.finish(replace(failed("ONNX_CPU"), interrupted=True))
    assert "EAGER: ok in 8 s: 20.00 ms, unstable" in stream.getvalue()
    progress.finish(replace(outcome, status=Status.FAILED, interrupted=True))
    assert "ONNX_CPU: interrupted in 4 s\n" in stream.getvalue()
    assert "EAGER: interrupted in 8 s: 20.00 ms so far\n" in stream.getvalue()


def test_a_terminal_shows_what_runs_and_what_is_next() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=80, force_terminal=True), clock)
    progress.start(PLAN, None, ESTIMATE_S)
    clock.now = 2.0
    progress.phase("EAGER", "convert")
    clock.now = 10.0
    progress.phase("EAGER", "warm-up")
    progress.close()
    progress.close()
    shown = stream.getvalue()
    assert "EAGER: warm-up, 8 s" in shown
    assert "converted 0 of 2, 10 s so far, about 1 min 32 s to go; next: ONNX_CPU" in shown
    assert "ONNX_GPU" not in shown  # which cannot run here


def test_a_terminal_shows_whose_turn_it_is() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=80, force_terminal=True), clock)
    progress.start(PLAN, FIVE, ESTIMATE_S)
    get_ready(progress, clock, "EAGER", 40.0)
    get_ready(progress, clock, "ONNX_CPU", 60.0)
    take_turns(progress, clock, "EAGER", "ONNX_CPU", rounds=3, took_s=6.0)
    progress.turns("ONNX_CPU", 4, 1, 2)
    progress.close()
    shown = stream.getvalue()
    assert "converted 2 of 2, timing round 4 of 9 (ONNX_CPU), 1 min 46 s so far" in shown
    assert "to go" not in shown.split("timing round 1")[1]
    assert "next" not in shown.split("timing round 1")[1]


def test_a_terminal_shows_what_is_evaluated() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=80, force_terminal=True), clock)
    progress.start(PLAN, FIVE, ESTIMATE_S)
    get_ready(progress, clock, "EAGER", 40.0)
    take_turns(progress, clock, "EAGER", "ONNX_CPU", rounds=3, took_s=6.0)
    progress.phase("EAGER", "evaluate")
    progress.close()
    shown = stream.getvalue().split("timing round 3")[-1]
    assert "EAGER: evaluate, 0 s" in shown
    assert ", timed, " in shown


def test_beyond_the_least_rounds_it_tells_how_many_are_precise_enough() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=100, force_terminal=True), clock)
    progress.start(PLAN, FIVE)
    get_ready(progress, clock, "EAGER", 4.0)
    progress.finish(failed("ONNX_CPU"))
    progress.turns("EAGER", 12, 0, 1)
    progress.close()
    told = "converted 1 of 2, 1 failed, timing round 12, 0 of 1 precise enough (EAGER), 4 s so far"
    assert told in stream.getvalue()


def test_all_that_are_prepared_at_once_are_shown() -> None:
    stream, clock = Terminal(), Clock()
    progress = TerminalProgress(Console(file=stream, width=100, force_terminal=True), clock)
    progress.start(PLAN, FIVE)
    progress.phase("EAGER", "convert")
    clock.now = 3.0
    progress.phase("ONNX_CPU", "load")
    progress.close()
    assert "EAGER: convert, 3 s" in stream.getvalue()
    assert "ONNX_CPU: load, 0 s" in stream.getvalue()


def test_the_figure_at_the_end_is_the_median_of_all_rounds() -> None:
    progress, stream, _ = started()
    progress.finish(in_rounds(ok("EAGER"), [10.0, 30.0, 20.0]))
    assert "EAGER: ok in 8 s: 20.00 ms" in stream.getvalue()


def test_forced_colours_do_not_make_a_log_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    progress, stream, _ = made()
    progress.start(PLAN)
    progress.phase("EAGER", "load")
    progress.close()
    assert stream.getvalue() == "3 conversions planned\n"


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device"), ValueError("closed file")]
)
@pytest.mark.parametrize("live", [False, True])
def test_a_reader_that_goes_away_does_not_end_the_job(error: Exception, live: bool) -> None:
    class Lost(Terminal):
        def write(self, text: str) -> int:
            if "planned" in self.getvalue():
                raise error
            return super().write(text)

    progress = TerminalProgress(JobConsole(file=Lost(), width=80, force_terminal=live))
    progress.start(PLAN, FIVE)
    progress.phase("EAGER", "start")
    progress.warn("the machine is busy")
    progress.finish(ok("EAGER", 20.0))
    progress.close()


def test_stdout_stays_for_the_table() -> None:
    code = (
        "from almaflow.report.progress import TerminalProgress;"
        "p = TerminalProgress(); p.start([]); p.warn('w'); p.close(); print('table')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "table\n"
    assert done.stderr.splitlines() == ["0 conversions planned", "warning: w"]


def test_the_live_display_leaves_the_processor_to_the_worker() -> None:
    assert REFRESH_PER_S <= 2
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        progress = TerminalProgress(Console(file=stream, force_terminal=True, width=100))
        progress.start([planned(f"CONVERSION_{i}") for i in range(70)], FIVE, {"CONVERSION_0": 60.0})
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
