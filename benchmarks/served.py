"""Do converted models answer through MLflow's scoring server as they did in their job?

Each conversion that a job has kept is registered in the job's store and served by ``mlflow models serve``. The
example's inputs are sent as plain JSON, and by MLflow's own client where the model has one input, which is what that
client sends. By default these are the conversions of tier 2, and the first one of each export format. Run the job with
``keep=all``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

import numpy as np

from almaflow.processes.logs import last_line
from almaflow.processes.sessions import end_session
from almaflow.tracking.ui_server import free_port
from processes import END_S
from shared import BenchmarkError, make_parser, run_script, save, say, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.jobs.kept_export import Exported
    from almaflow.records import Job
    from almaflow.records.export import Export

MODEL = "almaflow_served"
STARTS_WITHIN_S, ANSWERS_WITHIN_S = 180.0, 300.0
"""An export that compiles does so at its first call."""
EXACT_DB = 200.0


def main() -> None:
    """Serve each, ask it, and show how far its answers are from those of the job."""
    parser = make_parser(__doc__)
    parser.add_argument("jobs", nargs="+", metavar="JOB_ID", help="jobs of this machine with keep=all")
    parser.add_argument("--conversions", nargs="+", metavar="NAME", help="in place of those by default")
    arguments = parser.parse_args()
    from almaflow.jobs.kept_export import job_of, kept_model, store_of
    from almaflow.tracking.uris import resolve_uri

    rows, found = [], []
    for job_id in arguments.jobs:
        job = job_of(job_id, resolve_uri(None))[0]
        for name in arguments.conversions or by_default(job):
            kept = kept_model(job, name)
            say(f"{job.model.name} {name}")
            entry = {"model": job.model.name, "conversion": name, "format": kept.export.format.value}
            found.append(entry | asked(kept, store_of(job, None)))
            save(arguments, found)
            rows.append([f"{job.model.name} {name}", *(str(found[-1][key]) for key in ("format", "json", "client"))])
    show("Answers of MLflow's scoring server against those of the job", ["model", "format", "JSON", "client"], rows)
    if wrong := [each["conversion"] for each in found if "WRONG" in f"{each['json']} {each['client']}"]:
        message = f"wrong answers: {', '.join(wrong)}"
        raise BenchmarkError(message)


def by_default(job: Job) -> list[str]:
    """The conversions of tier 2 that the job has kept, and the first one of each format that these lack."""
    from almaflow.conversions.catalogue.tiers import tier
    from almaflow.records.export import kept_exports

    kept = {name: export for name, (_, export) in kept_exports(job.directory).items()}
    chosen = [each.name for each in tier(2, job.hardware.device) if each.name in kept]
    for name, export in kept.items():
        formats = {kept[each].format for each in chosen}
        if export.format not in formats:
            chosen.append(name)
    return chosen


def asked(kept: Exported, store: str) -> dict[str, str]:
    """Register and serve a model, and return how its answers are."""
    from almaflow.jobs.model_logging import model_files
    from almaflow.tracking.converted_models import log_model, register_model

    model_id = log_model(store, model_files(kept))
    if model_id is None:
        message = f"{kept.export.conversion}: its run was deleted"
        raise BenchmarkError(message)
    version = register_model(store, model_id, MODEL, None)
    with np.load(kept.directory / "example.npz") as example:
        given = [example[f"input_{number}"] for number in range(len(kept.export.inputs))]
        expected = [example[f"output_{number}"] for number in range(len(kept.export.outputs))]
    names = [each.name for each in kept.export.inputs]
    with served(f"models:/{MODEL}/{version}", store) as address:
        body = {"inputs": {name: each.tolist() for name, each in zip(names, given, strict=True)}}
        by_json = judged(kept.export, posted(address, body), expected)
        by_client = (
            judged(kept.export, from_client(address, given[0]), expected) if len(given) == 1 else "several inputs"
        )
    return {"json": by_json, "client": by_client}


@contextmanager
def served(uri: str, store: str) -> Iterator[str]:
    """The address of MLflow's scoring server for one model, once it answers."""
    port = free_port(None)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = ["mlflow", "models", "serve", "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    with tempfile.TemporaryDirectory(prefix="served-") as scratch:
        log_path = Path(scratch, "log")
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--model-uri", uri],
                env=os.environ | {"PATH": path, "MLFLOW_TRACKING_URI": store},
                cwd=scratch,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        try:
            address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + STARTS_WITHIN_S
            while not is_there(address):
                if process.poll() is not None or time.monotonic() > deadline:
                    message = f"{uri}: the server does not answer; it last said: {last_line(log_path)}"
                    raise BenchmarkError(message)
                time.sleep(0.3)
            yield address
        finally:
            end_session(process, END_S)


def is_there(address: str) -> bool:
    """Whether a server answers there."""
    with suppress(URLError, OSError), build_opener(ProxyHandler({})).open(f"{address}/ping", timeout=5) as answer:
        return bool(answer.status == 200)  # noqa: PLR2004 - HTTP's own
    return False


def posted(address: str, body: dict[str, Any]) -> Any:
    """The predictions for plain JSON."""
    data = json.dumps(body).encode()
    request = Request(f"{address}/invocations", data, {"Content-Type": "application/json"})  # noqa: S310 - ours
    with build_opener(ProxyHandler({})).open(request, timeout=ANSWERS_WITHIN_S) as answer:
        return json.load(answer)["predictions"]


def from_client(address: str, given: np.ndarray) -> Any:
    """The predictions for MLflow's own client."""
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    host, port = address.removeprefix("http://").split(":")
    client = ScoringServerClient(host, int(port))  # type: ignore[no-untyped-call] # MLflow's annotations
    return client.invoke(given).get_predictions("records")


def judged(export: Export, answer: Any, expected: list[np.ndarray]) -> str:
    """How far an answer is from what the conversion gave in the job."""
    values = list(answer.values()) if isinstance(answer, dict) else [answer]
    if len(values) != len(expected):
        return f"WRONG: {len(values)} outputs of {len(expected)}"
    least = EXACT_DB
    for found, right in zip(values, expected, strict=True):
        here = np.asarray(found, dtype=right.dtype)
        if here.shape != right.shape:
            return f"WRONG: shape {here.shape} for {right.shape}"
        noise = np.square(here.astype(float) - right.astype(float)).sum()
        if noise:
            least = min(least, float(10 * np.log10(np.square(right.astype(float)).sum() / noise)))
    if least < export.tolerance_db:
        return f"WRONG: {least:.0f} dB"
    return "equal" if least == EXACT_DB else f"{least:.0f} dB"


if __name__ == "__main__":
    run_script(main)
