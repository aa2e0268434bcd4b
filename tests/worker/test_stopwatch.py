"""What a step of a worker took: of the clock, and of processors that it and its helpers kept busy."""

from __future__ import annotations

import subprocess
import sys
import time

from almaflow.worker.stopwatch import Stopwatch

SPIN = "import time; end = time.process_time() + 0.1\nwhile time.process_time() < end: pass"


def spin() -> None:
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass


def test_sleeping_takes_time_and_no_processor() -> None:
    stopwatch = Stopwatch()
    time.sleep(0.1)
    wall_s, cpu_s = stopwatch.read()
    assert wall_s >= 0.1
    assert 0.0 <= cpu_s < 0.05


def test_what_helpers_compute_counts_when_they_have_ended_and_while_they_run() -> None:
    stopwatch = Stopwatch()
    spin()
    subprocess.run([sys.executable, "-S", "-c", SPIN], check=True)
    then_sleeps = f"{SPIN}\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", then_sleeps], stdout=subprocess.PIPE) as helper:
        assert helper.stdout is not None
        helper.stdout.readline()
        _, running_s = stopwatch.read()
        helper.kill()
    _, ended_s = stopwatch.read()
    assert 0.28 <= running_s < 1.5  # with two interpreters' start; the kernel counts ticks of 10 ms
    assert abs(ended_s - running_s) < 0.1  # it counts once
