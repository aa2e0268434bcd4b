"""Without Linux's own calls, what measures nothing still answers. Measuring elsewhere is not tried."""

from __future__ import annotations

import subprocess
import sys

import pytest

ELSEWHERE = """
import ctypes, os, socket, sys
for name in ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "memfd_create", "eventfd", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
from almaflow.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("models", "resnet18"),
        ("hardware", "for each measurement"),
        ("conversions --tier 2", "EAGER"),
        ("run --help", "measure.min_samples=64"),
        ("run model=resnet18 --cfg job", "arch: resnet18"),
    ],
)
def test_what_measures_nothing_answers_without_linuxs_own_calls(arguments: str, expected: str) -> None:
    command = [sys.executable, "-c", ELSEWHERE, *arguments.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_processors_are_not_bound_elsewhere() -> None:
    command = [sys.executable, "-c", ELSEWHERE, *["run", "model=simple", "hardware.cpus=[0]"]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "this system binds no process to processors; leave it out" in done.stderr
