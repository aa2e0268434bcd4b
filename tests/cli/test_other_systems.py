"""Without Linux's own calls, what measures nothing still answers. Measuring elsewhere is not tried."""

from __future__ import annotations

import subprocess
import sys

ELSEWHERE = """
import contextlib, os, sys
for name in ("sched_getaffinity", "sched_setaffinity", "pidfd_open", "memfd_create", "eventfd", "posix_fadvise"):
    if hasattr(os, name):
        delattr(os, name)
from almaflow.cli import main
for command in sys.argv[1:]:
    print("==", command)
    try:
        main(command.split())
    except SystemExit as end:
        print("exit code", end.code, flush=True)
"""
ANSWERS = {
    "models": "resnet18",
    "hardware": "for each measurement",
    "conversions --tier 2": "EAGER",
    "run --help": "measure.min_samples=64",
    "run model=resnet18 --cfg job": "arch: resnet18",
}
BOUND = "run model=simple hardware.cpus=[0]"


def test_what_measures_nothing_answers_without_linuxs_own_calls() -> None:
    command = [sys.executable, "-c", ELSEWHERE, *ANSWERS, BOUND]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = dict(part.split("\n", 1) for part in done.stdout.split("== ")[1:])
    for arguments, expected in ANSWERS.items():
        assert expected in told[arguments]
        assert told[arguments].endswith("exit code 0\n")
    assert told[BOUND].endswith("exit code 2\n")
    assert "this system binds no process to processors; leave it out" in done.stderr
