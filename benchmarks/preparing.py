"""What does it bring, and cost, to prepare conversions side by side?

Whole jobs in turns, in pairs: `measure.prepare_jobs=1` and the default, or with `--tree` another checkout of almaflow
and this one, each with its own default. Compared are the wall time of the whole command, the memory of all its
processes at the highest look (PSS: shared pages are divided among those that share them), every conversion's verdict,
and its floor.

Each side has a home in which a small job has run before: store, description of the machine and what belongs to the
compiler are there. Compile caches of models are cold.

Ratios are of the second side over the first: below 1 is quicker, or smaller. Where there are several pairs, the table
has the median of their ratios with the lowest and the highest.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import first_job, run_almaflow
from shared import BenchmarkError, at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence

LOOK_S = 2.0
"""Seconds between two looks at the memory: one takes the kernel some 20 ms a gigabyte, beside what is measured."""

FIRST, SECOND = "one at a time", "side by side"

Figures = dict[str, Any]
"""Of one job: ``wall_s``, ``peak_mb``, and by conversion its ``verdict`` and ``floor_ms``."""


def main() -> None:
    """Run the pairs and show the tables."""
    parser = make_parser(__doc__, overrides="further settings of both sides, such as measure=quick")
    parser.add_argument(
        "--jobs", nargs="+", default=["resnet18:2"], metavar="MODEL:TIER", help="what to measure (default: resnet18:2)"
    )
    parser.add_argument("--pairs", type=at_least(1), default=3, help="of each job (default: 3)")
    parser.add_argument("--tree", type=checkout, metavar="DIRECTORY", help="another checkout, as the first side")
    arguments = parser.parse_args()
    sides = {"that tree": arguments.tree, "this tree": here()} if arguments.tree else {FIRST: here(), SECOND: here()}
    from almaflow.machine.lock import alone

    pairs: dict[str, list[dict[str, Figures]]] = {job: [] for job in arguments.jobs}
    with alone("wait", say), TemporaryDirectory(prefix="preparing-") as scratch:
        homes = {side: Path(scratch, str(number)) for number, side in enumerate(sides)}
        for side, home in homes.items():
            first_job(home, **search_path(sides[side]))
        for number in range(1, arguments.pairs + 1):
            for job in arguments.jobs:
                order = list(sides) if number % 2 else list(reversed(sides))
                pair: dict[str, Figures] = {}
                for side in order:
                    say(f"pair {number} of {arguments.pairs}, {job}: {side}")
                    pair[side] = one_job(arguments, job, side, sides[side], homes[side])
                pairs[job].append({side: pair[side] for side in sides})
                save(arguments, {"pairs": pairs})  # what there is so far is not lost
    for job, found in pairs.items():
        present(job, found, list(sides))


def checkout(text: str) -> Path:
    """An argument type: the ``src`` of a directory with almaflow's source."""
    path = Path(text).resolve() / "src"
    if not (path / "almaflow").is_dir():
        message = f"--tree {text}: has no src/almaflow"
        raise BenchmarkError(message)
    return path


def here() -> Path:
    """The directory that this process imports almaflow from."""
    import almaflow

    return Path(almaflow.__file__).parents[1]


def search_path(source: Path) -> dict[str, str]:
    """The environment variable by which a child imports that almaflow."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH"))))}


def one_job(arguments: Namespace, job: str, side: str, source: Path, home: Path) -> Figures:
    """The figures of one job of one side.

    Raises:
        BenchmarkError: the job failed, or there is no such model or tier.
    """
    model, _, tier = job.partition(":")
    overrides = [f"model={model}", f"tier={tier or 2}", "hardware=cpu", "measure.exclusive=ignore"]  # the lock is ours
    if side == FIRST:
        overrides.append("measure.prepare_jobs=1")
    with watching_memory() as highest:
        ran = run_almaflow([*arguments.overrides, *overrides], home, **search_path(source))
    return {
        "wall_s": ran.wall_s,
        "peak_mb": highest["mb"],
        "conversions": {
            each["conversion"]: {"verdict": verdict(each), "floor_ms": each.get("latency/floor")}
            for each in ran.output["conversions"]
        },
    }


def verdict(entry: dict[str, Any]) -> str:
    """What became of a conversion: its status, and of a failure its class."""
    return " ".join(filter(None, (str(entry["status"]), entry.get("failure"))))


@contextmanager
def watching_memory() -> Iterator[dict[str, float]]:
    """Look every now and then at the memory of all processes below this one; the highest sum is kept."""
    from almaflow.machine.process_tree import descendants, share_mb

    highest = {"mb": 0.0}
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            highest["mb"] = max(highest["mb"], sum(map(share_mb, descendants(os.getpid()))))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield highest
    finally:
        over.set()
        thread.join()


def present(job: str, pairs: Sequence[dict[str, Figures]], sides: Sequence[str]) -> None:
    """Show one job's tables: the whole, and by conversion."""
    first, second = sides
    rows = [
        [
            what,
            figure(median(pair[first][key] for pair in pairs)),
            figure(median(pair[second][key] for pair in pairs)),
            *spread([pair[second][key] / pair[first][key] for pair in pairs if pair[first][key]]),
        ]
        for what, key in (("wall time, s", "wall_s"), ("highest memory, MB", "peak_mb"))
    ]
    columns = ["", first, second, "ratio", "lowest", "highest"]
    show(f"{job}: whole jobs, {len(pairs)} pairs", columns, rows)
    names = dict.fromkeys(name for pair in pairs for side in sides for name in pair[side]["conversions"])
    rows = [by_conversion(name, pairs, sides) for name in names]
    others = sum(bool(row[-1]) for row in rows)
    note = f"{others} of {len(rows)} conversions have another verdict in some pair"
    show(f"{job}: floors of the conversions", ["conversion", *columns[1:], "verdicts that differ"], rows, note)


def by_conversion(name: str, pairs: Sequence[dict[str, Figures]], sides: Sequence[str]) -> list[str]:
    """The row of one conversion."""
    found = [[pair[side]["conversions"].get(name, {}) for side in sides] for pair in pairs]
    floors = [[each.get("floor_ms") for each in both] for both in found]
    known = [(one, other) for one, other in floors if one and other]
    medians = [figure(median(column), 3) for column in zip(*known, strict=True)] or ["", ""]
    verdicts = {" / ".join(each.get("verdict", "none") for each in both) for both in found}
    differing = sorted(each for each in verdicts if len(set(each.split(" / "))) > 1)
    return [name, *medians, *spread([other / one for one, other in known]), "; ".join(differing)]


def spread(ratios: Sequence[float]) -> list[str]:
    """The median, the lowest and the highest, for cells."""
    return [figure(value, 3) for value in (median(ratios), min(ratios), max(ratios))] if ratios else ["", "", ""]


if __name__ == "__main__":
    run_script(main)
