"""What does almaflow itself cost?

job       of a real job, by conversion: what its worker took beyond loading, converting, checking, warming up and the
          timed calls. Once a job: starting the server that forks the workers. And MLflow's part of the job's time
commands  how long commands take that have no model to run, from start to exit: the first time in a new home, where
          what the machine is has to be found out, and the median of the times after
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from processes import call, home_environment
from shared import at_least, figure, make_parser, percent, run_script, save, say, show

if TYPE_CHECKING:
    from almaflow.records import Job

COMMANDS = (["--help"], ["conversions"], ["models"], ["hardware"], ["run", "--cfg", "job"])

STORE = """
import json, sys, time
from almaflow.tracking.store import prepare
from almaflow.tracking.uris import resolve_uri
began = time.perf_counter()
import mlflow
imported = time.perf_counter()
prepare(resolve_uri(None), "almaflow")
json.dump([imported - began, time.perf_counter() - imported], open(sys.argv[1], "w"))
"""
"""MLflow by itself: in a job it has the processor beside the server, and seems to take longer."""


def main() -> None:
    """Measure and show."""
    parser = make_parser(__doc__, overrides="the job (default: model=resnet18 tier=2)")
    parser.add_argument("--only", choices=("job", "commands"), help="one of the two")
    parser.add_argument("--times", type=at_least(1), default=5, help="that each command is run (default: 5)")
    arguments = parser.parse_args()
    results: dict[str, Any] = {}
    with TemporaryDirectory(prefix="cost-") as scratch:
        if arguments.only != "job":
            results["commands"] = commands(Path(scratch), arguments.times)
            present_commands(results["commands"])
            save(arguments, results)
        if arguments.only != "commands":
            # One at a time, so that the parts of the wall time add up.
            overrides = ["measure.prepare_jobs=1", *(arguments.overrides or ["model=resnet18", "tier=2"])]
            results["job"] = one_job(overrides, Path(scratch))
            present_job(results["job"])
            save(arguments, results)


def commands(scratch: Path, times: int) -> list[dict[str, Any]]:
    """Each command once in a new home, then so many times more."""
    found = []
    for words in COMMANDS:
        say(f"almaflow {' '.join(words)}")
        home = scratch / words[0].strip("-")
        home.mkdir()
        command = [sys.executable, "-m", "almaflow", *words]
        seconds = [call(command, home / "log.txt", home_environment(home)) for _ in range(times + 1)]
        shown = " ".join(["almaflow", *words])
        found.append({"command": shown, "first_s": seconds[0], "median_s": median(seconds[1:]), "all_s": seconds})
    return found


def one_job(overrides: list[str], scratch: Path) -> dict[str, Any]:
    """Its figures, in seconds: each worker's, the parts of the whole job, what was measured by itself before."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    os.environ["ALMAFLOW_HOME"] = str(scratch / "home")
    from almaflow.config.composition import compose
    from almaflow.jobs.request import make_request
    from spans import TRACKING, run_watched, server, worker

    request = make_request(compose(overrides))
    say("MLflow by itself")
    result = scratch / "store.json"
    call([sys.executable, "-c", STORE, str(result)], scratch / "store.txt", home_environment(scratch / "empty"))
    import_s, create_s = json.loads(result.read_text(encoding="utf-8"))
    say("the server by itself")
    alone = {"start the server": server(request, scratch), "import MLflow": import_s, "create the store": create_s}
    say("the job")
    job, seconds, wall_s = run_watched(request)
    if job.interrupted:
        raise KeyboardInterrupt
    workers = [found for outcome in job.outcomes if (found := worker(outcome, seconds))["total_s"]]
    store, *others = TRACKING.values()
    parts = {
        store: seconds.get(("", store), 0.0),
        "then wait for the server": seconds.get(("", "fork"), 0.0),
        "prepare the model": seconds.get((job.model.name, "load"), 0.0),
        "then wait for its imports": seconds.get(("", "imports"), 0.0),
        "the control's rounds": seconds.get(("", "control"), 0.0),
        **{what: seconds.get(("", what), 0.0) for what in others},
        "conversions: their work": sum(each["total_s"] - each["around_calls_s"] - each["worker_s"] for each in workers),
        "conversions: around the timed calls": sum(each["around_calls_s"] for each in workers),
        "conversions: starting and ending workers": sum(each["worker_s"] for each in workers),
    }
    return {
        "wall_s": wall_s,
        "alone_s": alone,
        "parts_s": parts | {"the rest": wall_s - sum(parts.values())},
        "tracking_s": sum(parts[what] for what in TRACKING.values()),
        # While it imports MLflow the job would wait for the server anyway.
        "tracking_waited_s": sum(parts[what] for what in others) + max(0.0, parts[store] - alone["start the server"]),
        "tracking_recorded_s": recorded(job, request.uri),
        "workers": workers,
    }


def recorded(job: Job, uri: str) -> float | None:
    """The job's own ``time/tracking``: without ending the job's run, in which it is written."""
    from almaflow.tracking.session import connect

    return connect(uri).get_run(job.run_id or "").data.metrics.get("time/tracking")


def present_commands(found: list[dict[str, Any]]) -> None:
    """Show how long they took."""
    rows = [[each["command"], figure(each["first_s"]), figure(each["median_s"])] for each in found]
    show("Commands, from start to exit", ["command", "in a new home s", "median after s"], rows)


def present_job(job: dict[str, Any]) -> None:
    """Show where a job's time went."""
    from spans import WORK, key

    keys = ["total_s", *(key(phase) for phase in WORK), "timed_s", "around_calls_s", "worker_s"]
    headings = ["total", *WORK, "timed calls", "around them", "worker", "worker's share"]
    rows = [
        [each["conversion"], *(figure(each[name]) for name in keys), percent(each["worker_share"])]
        for each in job["workers"]
    ]
    note = "around them: gaps, control workload, untimed calls; worker: starting and ending its process"
    show("Seconds of each conversion", ["conversion", *headings], rows, note)
    wall_s = job["wall_s"]
    parts = {
        "the job": wall_s,
        **job["parts_s"],
        "all of MLflow": job["tracking_s"],
        "of it, beyond the server's start": job["tracking_waited_s"],
        "the job's own time/tracking": job["tracking_recorded_s"],
        **{f"by itself, before: {what}": seconds for what, seconds in job["alone_s"].items()},
    }
    rows = [[what, figure(seconds), percent(seconds and seconds / wall_s)] for what, seconds in parts.items()]
    note = "in the job MLflow is imported while the server starts"
    show("Seconds of the whole job", ["what", "s", "of the job"], rows, note)


if __name__ == "__main__":
    run_script(main)
