"""Does the instrument read what is known beforehand?

A model that takes exactly 5, 20 and 100 ms is measured by a real job and read back: the error of the median and of the
floor. A model that writes to 100 and 400 MB in each call is read back as the peak of memory above what the worker had
before, less the same of a model that writes to none.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from processes import run_almaflow
from shared import HERE, at_least, figure, make_parser, percent, run_script, save, say, show


def main() -> None:
    """Measure both kinds of models and show two tables."""
    parser = make_parser(__doc__, overrides="further settings of the jobs, such as measure=quick")
    parser.add_argument("--sleep", nargs="*", type=at_least(1), default=[5, 20, 100], metavar="MS")
    parser.add_argument("--allocate", nargs="*", type=at_least(1), default=[100, 400], metavar="MB")
    arguments = parser.parse_args()
    with TemporaryDirectory(prefix="instrument-") as scratch:
        home = Path(scratch)
        times = [sleep(ms, home, arguments.overrides) for ms in arguments.sleep]
        sizes = allocate(arguments.allocate, home, arguments.overrides) if arguments.allocate else []
    save(arguments, {"time": times, "memory": sizes})
    if times:
        columns = ["takes ms", "median ms", "error", "floor ms", "error", "mean ms", "error", "samples"]
        show("Time of a call", columns, [time_cells(row) for row in times], "error: (read - known) / known")
    if sizes:
        columns = ["writes to MB", "above baseline MB", "with 0 MB", "read MB", "error MB", "error"]
        show("Memory of a call", columns, [memory_cells(row) for row in sizes])


def sleep(known_ms: int, home: Path, overrides: list[str]) -> dict[str, Any]:
    """A model that takes this long, as a job reads it."""
    say(f"a call of {known_ms} ms")
    read = measured("Sleeps", "ms", known_ms, home, overrides)
    return (
        {"known_ms": known_ms}
        | {
            name: {"ms": read[metric], "error": read[metric] / known_ms - 1}
            for name, metric in (("median", "latency_ms"), ("floor", "latency/floor"), ("mean", "latency/mean"))
        }
        | {"samples": int(read["latency/samples"])}
    )


def allocate(known_mb: list[int], home: Path, overrides: list[str]) -> list[dict[str, Any]]:
    """Models that write to so much memory, each beside the one that writes to none."""
    above = {}
    for mb in [0, *known_mb]:
        say(f"a call that writes to {mb} MB")
        read = measured("Allocates", "mb", mb, home, overrides)
        above[mb] = read["memory/peak_rss_mb"] - read["memory/baseline_mb"]
    return [
        {
            "known_mb": mb,
            "above_baseline_mb": above[mb],
            "above_baseline_of_none_mb": above[0],
            "read_mb": above[mb] - above[0],
            "error": (above[mb] - above[0]) / mb - 1,
        }
        for mb in known_mb
    ]


def measured(model: str, keyword: str, value: int, home: Path, overrides: list[str]) -> dict[str, Any]:
    """The figures of a job that measures one of the models in eager PyTorch.

    Raises:
        BenchmarkError: it could not be measured.
    """
    made = [
        f"model._target_=instrument_models.{model}",
        f"model.kwargs.{keyword}={value}",
        "model.inputs=[{shape: [8]}]",
    ]
    fixed = ["model=custom", *made, "hardware=cpu", "conversions=[EAGER]"]
    ran = run_almaflow([*fixed, *overrides], home, PYTHONPATH=str(HERE))
    return ran.require_all()["EAGER"]


def time_cells(row: dict[str, Any]) -> list[str]:
    """A row of the table of times."""
    cells = [str(row["known_ms"])]
    for name in ("median", "floor", "mean"):
        cells += [figure(row[name]["ms"], 3), percent(row[name]["error"], 2)]
    return [*cells, str(row["samples"])]


def memory_cells(row: dict[str, Any]) -> list[str]:
    """A row of the table of sizes."""
    error_mb = row["read_mb"] - row["known_mb"]
    megabytes = [row["above_baseline_mb"], row["above_baseline_of_none_mb"], row["read_mb"], error_mb]
    return [str(row["known_mb"]), *(figure(mb, 1) for mb in megabytes), percent(row["error"], 2)]


if __name__ == "__main__":
    run_script(main)
