"""What of a compilation by inductor belongs to the machine, and what to the model?

A network that was never compiled before, of random widths, is compiled by COMPILE_INDUCTOR_DEFAULT in real jobs: in a
home in which nothing is known of the compiler yet, and again, with other widths, in the same home. Each call of the
compiler is counted, with its CPU seconds, by what it compiles. Both jobs have to compile as much for the model; the
first one compiles one kernel more, by which it proves what it has found out.

The jobs are those of a user, and PyTorch's default cache is in a new directory too.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import run_almaflow
from shared import HERE, BenchmarkError, at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

COMPILER = """#!/bin/bash
PATH="$REAL_PATH" g++ "$@"
code=$?
call="$CALLS/$$.$RANDOM"
times > "$call.part"
{ tail -n 1 "$call.part"; echo "$(grep -c _chk_kernel -- "$1" 2> /dev/null)"; echo "$@"; } > "$call.call"
rm "$call.part"
exit $code
"""
"""Notes the processor times of the real compiler, whether it was given a test program, and its arguments."""

KINDS = ("test programs", "header", "kernels", "questions")


def main() -> None:
    """Run the pairs and show them."""
    parser = make_parser(__doc__, overrides="further settings of the jobs")
    parser.add_argument("--pairs", type=at_least(1), default=3, help="of jobs (default: 3)")
    arguments = parser.parse_args()
    if not shutil.which("g++"):
        message = "there is no g++ here"
        raise BenchmarkError(message)
    results = []
    with TemporaryDirectory(prefix="toolchain-") as scratch:
        for number in range(1, arguments.pairs + 1):
            home = Path(scratch, str(number))
            home.mkdir()
            for kind in ("new", "known"):
                say(f"pair {number} of {arguments.pairs}: compiler {kind}")
                results.append({"pair": number, "compiler": kind, **one_job(home, arguments.overrides, kind)})
                save(arguments, results)
    present(results)


def one_job(home: Path, overrides: Sequence[str], kind: str) -> dict[str, Any]:
    """A job, and the compiler's calls in it: how many of each kind, and their CPU seconds."""
    calls, temporary, compiler = home / f"calls-{kind}", home / "tmp", home / "bin" / "g++"
    for directory in (calls, temporary, compiler.parent):
        directory.mkdir(exist_ok=True)
    compiler.write_text(COMPILER, encoding="ascii")
    compiler.chmod(stat.S_IRWXU)
    widths = [random.randrange(5, 60) for _ in range(3)]  # noqa: S311 - nobody is to guess them
    settings = [
        "model=custom",
        "model.name=never_seen",
        "model._target_=toolchain_models.network",
        f"+model.widths={widths}",
        "model.inputs=[{shape: [3, 40, 40]}]",
        "hardware=cpu",
        "conversions=[EAGER,COMPILE_INDUCTOR_DEFAULT]",
        "measure=quick",
    ]
    ran = run_almaflow(
        [*settings, *overrides], home, CXX=str(compiler), REAL_PATH=os.environ["PATH"], CALLS=str(calls),
        TMPDIR=str(temporary), PYTHONPATH=os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
    )  # fmt: skip
    entry = ran.require_all()["COMPILE_INDUCTOR_DEFAULT"]
    found: dict[str, Any] = {
        "widths": widths, "convert_s": entry.get("time/convert"), "first_call_s": entry.get("time/first_call"),
    }  # fmt: skip
    for name in KINDS:
        found[name] = {"calls": 0, "cpu_s": 0.0}
    for path in calls.glob("*.call"):
        times, tests, *words = path.read_text(encoding="utf-8").splitlines()
        of = found["test programs" if tests not in {"0", ""} and ".cpp" in words[-1] else kind_of(words[-1])]
        of["calls"] += 1
        of["cpu_s"] += sum(seconds(part) for part in times.split())
    return found


def kind_of(words: str) -> str:
    """What a call of the compiler that is given no test program is for, by its arguments."""
    if "c++-header" in words or " -E " in words:
        return "header"
    return "kernels" if ".cpp" in words else "questions"


def seconds(text: str) -> float:
    """Read what the shell's ``times`` prints: ``0m1.234s``."""
    minutes, _, rest = text.rstrip("s").partition("m")
    return 60 * float(minutes) + float(rest)


def present(results: Sequence[dict[str, Any]]) -> None:
    """Show the medians over the pairs."""
    rows = []
    for compiler in ("new", "known"):
        own = [each for each in results if each["compiler"] == compiler]
        row = [compiler]
        for kind in KINDS:
            row.append(figure(median(each[kind]["calls"] for each in own), 0))
            row.append(figure(median(each[kind]["cpu_s"] for each in own)))
        rows.append(row)
    headings = [text for kind in KINDS for text in (kind, "CPU s")]
    show("Calls of the compiler and their CPU seconds, medians", ["compiler is", *headings], rows)


if __name__ == "__main__":
    run_script(main)
