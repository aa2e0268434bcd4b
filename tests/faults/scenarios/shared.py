"""A store that somebody else may write holds things that would run code of his if they were called or loaded."""

from __future__ import annotations

import json
import os
import pickle
import signal
from typing import TYPE_CHECKING

from tests.faults.scenario import ended_with, holds, scenario
from tests.faults.scenarios.records import WAITS
from tests.faults.scenarios.stores import change

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.place import Place

TARGET = "os.mkdir"


class Pickled:
    """Makes a directory where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def config(marker: Path) -> str:
    """A job's configuration whose every target makes the marker, and which names what only its reader has."""
    call = f"  _target_: {TARGET}\n  kwargs: {{path: {marker}}}\n  path: {marker}\n"
    return (
        f"model:\n  name: planted\n  batch_size: 1\n{call}  inputs: [{{shape: [8]}}]\n"
        f"  data_loader:\n    _target_: {TARGET}\n    path: {marker}\n"
        f"predictor:\n  planted:\n    _target_: {TARGET}\n    path: {marker}\n"
        f"hardware: {{device: cpu, threads: 1}}\nexperiment_name: ${{oc.env:PLANTED_VARIABLE}}\n"
    )


def plant(place: Place, marker: Path) -> int:
    """Put it into every artifact of every run, and beside them; gives the number of files that were changed."""
    changed = 0
    payload = pickle.dumps(Pickled(marker))
    for path in list((place.home / "mlartifacts").rglob("*")):
        if path.name == "config.yaml":
            kept = path.read_text(encoding="utf-8")
            mine = kept.replace("sleepy.Sleepy", TARGET).replace("kwargs: {}", f"kwargs: {{path: {marker}}}")
            path.write_text(mine if mine != kept else config(marker), encoding="utf-8")
            changed += 1
        elif path.name == "outcome.json":
            data = json.loads(path.read_text(encoding="utf-8"))
            data["planned"]["name"] = f"__import__('os').mkdir({str(marker)!r})"
            data["_target_"] = TARGET
            (path.parent / "outcome.pkl").write_bytes(payload)
            changed += 1
        elif path.name in {"output.json", "workload.json", "predictions.json"}:
            data = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(data, dict):
                data |= {
                    "_target_": TARGET,
                    "args": [str(marker)],
                    "model": f"!!python/object/apply:{TARGET} [{marker}]",
                }
                path.write_text(json.dumps(data), encoding="utf-8")
                changed += 1
        if path.is_dir() and path.name == "artifacts":
            for name in ("reference.pt", "model.pkl", "calibration.pkl", "sitecustomize.py", "conftest.py"):
                mark = f"import os\nos.mkdir({str(marker)!r})\n".encode()
                (path / name).write_bytes(mark if name.endswith(".py") else payload)
                changed += 1
    for key in ("almaflow.job_id", "almaflow.conversion_requested", "mlflow.source.name", "mlflow.note.content"):
        change(place, "UPDATE tags SET value = value || ? WHERE key = ?", f"$(mkdir {marker})`mkdir {marker}`", key)
    return changed


@scenario(
    fault="in a shared store, somebody's configurations, predictors, pickles and names would make a directory if they "
    "were called, unpickled or evaluated",
    expected="reports, comparisons, accuracy, rescoring, predicting, sync and `resume=true` read the store, and "
    "nothing is made; `rescore --run-code` says what it would run",
)
def somebody_elses_code(place: Place) -> None:
    marker, control = place.root / "marker", place.root / "control"
    pickle.loads(pickle.dumps(Pickled(control)))  # noqa: S301 - our own: it shows that the payload would work
    assert control.is_dir()
    for size in (1, 2):
        ended_with(place.run(f"batch_size={size}", "predictor=roofline"), 0)
    ended_with(place.run("batch_size=3", faults=WAITS), -signal.SIGKILL)
    assert plant(place, marker) > 10
    seen = place.root / "seen"
    builder = (f"+predictor.own={{_target_: tests.support.planted.Builder, seen: {seen}}}", "~predictor.given")
    jobs = sorted({run.tags["almaflow.job_id"] for run in holds(place).in_store if run.kind == "job"})
    place.environment = {"PLANTED_VARIABLE": "of-the-reader-4711"}
    read = [
        *(("report", job, "--output", "report.html") for job in jobs),
        ("compare", jobs[0], jobs[1]),
        ("compare", "--filter", "params.batch_size = '1'", "--filter", "params.batch_size = '2'", "--all"),
        ("accuracy", "--baselines", "--html", "accuracy.html", "--track"),
        ("rescore", "predictor=roofline"),
        ("rescore", "predictor=graphs"),
        ("rescore", *builder),
        ("conversions", "--history"),
        ("sync",),
        place.measuring("resume=true"),
        place.measuring("resume=failed", "batch_size=2"),
        ("predict", *place.measuring("predictor=calibrated")[1:]),
    ]
    for arguments in read:
        ended = place.almaflow(*arguments)
        assert ended.code in {0, 1, 2}, ended
        assert "Traceback" not in ended.err, ended
        assert not marker.exists(), f"`almaflow {' '.join(arguments)}` ran somebody else's code: {ended}"
        assert "of-the-reader-4711" not in ended.out + ended.err, ended
    assert seen.exists(), "no predictor that builds models was asked"
    told = ended_with(place.almaflow("rescore", "--run-code", *builder), 0, 1, 2)
    assert TARGET in told.out + told.err, f"it does not say what it would run: {told}"
