"""Does a job of almaflow take longer than the same conversions in Alma's own benchmark?

Whole processes, from start to exit, in turns: `almaflow run` with 128 timed calls of each conversion, and Alma 0.3.7's
`benchmark_model` with n_samples=128, batch size 1 and its isolation by processes. Both start with cold compile caches
and have the same threads. It runs where `import alma` works, which is the older set of packages (make alma-era).

What almaflow does beside Alma's work is in its time: checking every answer, the runs in MLflow. Beware of
COMPILE_OPENVINO: Alma's may hand the model to inductor without a word, and its latency shows that.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from almaflow.processes.logs import last_line
from processes import call, first_job, run_almaflow
from shared import FOUR, HERE, BenchmarkError, at_least, figure, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from argparse import Namespace

    from almaflow.records import HardwareSpec

TIMEOUT_S = 1800.0
"""Of Alma's side, which is known to hang."""


def main() -> None:
    """Run the pairs and show two tables."""
    parser = make_parser(__doc__, overrides="further settings of almaflow's job")
    parser.add_argument("--arch", default="resnet18", help="a classification model of torchvision (default: resnet18)")
    parser.add_argument("--conversions", nargs="+", default=list(FOUR), metavar="NAME")
    parser.add_argument("--samples", type=at_least(1), default=128, help="timed calls (default: 128)")
    parser.add_argument("--pairs", type=at_least(1), default=3, help="of runs (default: 3)")
    parser.add_argument(
        "--home", choices=("used", "new"), default="used", help="almaflow's: with a small job in it, or empty"
    )
    arguments = parser.parse_args()
    from almaflow.machine.lock import alone

    with alone("wait", say), TemporaryDirectory(prefix="against-alma-") as scratch:
        require_alma(Path(scratch))
        hardware = machine(arguments)
        pairs: list[dict[str, Any]] = []
        for number in range(1, arguments.pairs + 1):
            here = Path(scratch, str(number))
            here.mkdir()
            sides = {"almaflow": almaflow_side, "alma": alma_side}
            order = list(sides) if number % 2 else list(reversed(sides))
            pair: dict[str, Any] = {"pair": number, "first": order[0]}
            for side in order:
                say(f"pair {number} of {arguments.pairs}: {side}")
                pair[side] = sides[side](arguments, hardware, here)
            pair["ratio"] = pair["almaflow"]["wall_s"] / pair["alma"]["wall_s"]
            pairs.append(pair)
            save(arguments, {"pairs": pairs})  # what there is so far is not lost
    summary = {
        "almaflow_wall_s": median(pair["almaflow"]["wall_s"] for pair in pairs),
        "alma_wall_s": median(pair["alma"]["wall_s"] for pair in pairs),
        "ratio": median(pair["ratio"] for pair in pairs),
    }
    save(arguments, {"pairs": pairs, "medians": summary})
    present(arguments, pairs, summary)


def require_alma(scratch: Path) -> None:
    """Find out in a process of its own, since importing it takes seconds.

    Raises:
        BenchmarkError: it cannot be imported here.
    """
    log = scratch / "import.txt"
    try:
        call([sys.executable, "-c", "from alma import benchmark_model"], log, os.environ)
    except BenchmarkError as error:
        message = f"Alma does not import with these packages ({last_line(log)}); run it in the set of `make alma-era`"
        raise BenchmarkError(message) from error


def machine(arguments: Namespace) -> HardwareSpec:
    """Threads and processors, as almaflow's job will have them."""
    from almaflow.config.composition import compose
    from almaflow.config.resolve import resolve_hardware

    return resolve_hardware(compose([*overrides(arguments), *arguments.overrides]))


def overrides(arguments: Namespace) -> list[str]:
    """Of almaflow's job: as many timed calls as Alma makes, whatever precision they give."""
    return [
        "model=torchvision",
        f"model.arch={arguments.arch}",
        "model.inputs=[{shape: [3, 224, 224]}]",
        "hardware=cpu",
        f"conversions=[{','.join(arguments.conversions)}]",
        f"measure.min_samples={arguments.samples}",
        "measure.min_time_s=0",
        "measure.rel_precision=null",
        "measure.exclusive=ignore",  # the lock is ours
    ]


def almaflow_side(arguments: Namespace, _hardware: HardwareSpec, here: Path) -> dict[str, Any]:
    """A job in a home of its own: the wall time of its process, and its figures."""
    home = here / "home"
    if arguments.home == "used":
        first_job(home)
    ran = run_almaflow([*overrides(arguments), *arguments.overrides], home)
    figures = {
        each["conversion"]: {"mean_ms": each["latency/mean"], "median_ms": each["latency_ms"]}
        if each["status"] == "ok"
        else {"error": str(each["message"])}
        for each in ran.output["conversions"]
    }
    return {"wall_s": ran.wall_s, "conversions": figures}


def alma_side(arguments: Namespace, hardware: HardwareSpec, here: Path) -> dict[str, Any]:
    """Alma's benchmark: the wall time of its process, and its figures."""
    from almaflow.processes.environment import server_environment

    directory = here / "alma"
    directory.mkdir()
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(directory / "cache"), "TRITON_CACHE_DIR": str(directory / "triton")}
    environment = {**os.environ, **server_environment(hardware), **caches}
    result = directory / "result.json"
    command = [sys.executable, str(HERE / "alma_side.py"), arguments.arch, str(arguments.samples), str(result)]
    log = here / "alma.txt"
    wall_s = call([*command, *arguments.conversions], log, environment, directory=directory, timeout_s=TIMEOUT_S)
    figures = json.loads(result.read_text(encoding="utf-8"))
    for name in arguments.conversions:  # a name that it does not know it drops
        figures.setdefault(name, {"error": "Alma has no conversion of that name"})
    return {"wall_s": wall_s, "conversions": figures}


def present(arguments: Namespace, pairs: list[dict[str, Any]], summary: dict[str, float]) -> None:
    """Show the wall times, and for information the latencies: medians over the pairs."""
    walls = [
        [str(pair["pair"]), figure(pair["almaflow"]["wall_s"]), figure(pair["alma"]["wall_s"]), figure(pair["ratio"])]
        for pair in pairs
    ]
    walls.append(
        ["median", figure(summary["almaflow_wall_s"]), figure(summary["alma_wall_s"]), figure(summary["ratio"])]
    )
    title = f"Wall time of a whole run: {arguments.arch}, {arguments.samples} calls, {arguments.home} home"
    show(title, ["pair", "almaflow s", "Alma s", "almaflow / Alma"], walls)
    rows = []
    for name in arguments.conversions:
        row = [name]
        for side, key in (("almaflow", "median_ms"), ("almaflow", "mean_ms"), ("alma", "mean_ms")):
            known = [pair[side]["conversions"][name].get(key) for pair in pairs if name in pair[side]["conversions"]]
            row.append(figure(median(known), 3) if known and None not in known else "")
        problems = {
            f"{side}: {pair[side]['conversions'][name]['error']}"
            for side in ("almaflow", "alma")
            for pair in pairs
            if "error" in pair[side]["conversions"].get(name, {})
        }
        rows.append([*row, "; ".join(sorted(problems))])
    show("What they report", ["conversion", "almaflow median ms", "almaflow mean ms", "Alma mean ms", "failed"], rows)


if __name__ == "__main__":
    run_script(main)
