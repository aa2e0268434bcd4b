"""What 0.1 left on disk and in its store is read, gone on with and shown: the home beside this file is one of its."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import tarfile
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from almaflow import machine
from almaflow.analysis.sweep import NOT_RUN, summarise
from almaflow.calibration.times import load_times
from almaflow.cli import main
from almaflow.config import calibrations
from almaflow.config.composition import compose
from almaflow.config.resolve import resolve_hardware, resolve_learnt
from almaflow.conversions.catalogue.plan import plan
from almaflow.jobs.files import JobFiles
from almaflow.jobs.resume import resume
from almaflow.jobs.sync import pending
from almaflow.records import Job, Limits, from_dict, to_dict
from almaflow.report.reproduction import reproduction
from almaflow.sweeps.files import sweeps
from almaflow.sweeps.record import begin
from almaflow.tracking.fingerprints import fingerprint, logical_key, plan_fingerprint
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records import Outcome, PlannedConversion

WRITTEN = Path(__file__).parent / "written_by_0_1" / "home.tar.xz"
PLACE = "@HOME@"
"""What stands there for the home's own place."""

NEVER_BEGUN = "EXPORT+EAGER"
"""The last conversion of the jobs that were ended from outside."""

AWAY = "http://127.0.0.1:1"
SHOWN = 0.01
"""How far what a table shows is rounded, at the most."""


@dataclass(frozen=True)
class Older:
    """The home, unpacked; what is expected of the code is read from its files and its database without it."""

    root: Path

    def raw(self, batch_size: int) -> list[dict[str, Any]]:
        """The records of the jobs with this batch size, the oldest first; it tells the jobs apart."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(self.root.glob("jobs/*/job.json"))]
        return [each for each in found if each["model"]["batch_size"] == batch_size]

    @property
    def finished(self) -> list[dict[str, Any]]:
        return self.raw(1)

    @property
    def away(self) -> dict[str, Any]:
        (job,) = self.raw(2)
        return job

    @property
    def killed(self) -> dict[str, Any]:
        (job,) = self.raw(3)
        return job

    @property
    def interrupted(self) -> dict[str, Any]:
        (job,) = self.raw(4)
        return job

    def files(self, job: dict[str, Any]) -> JobFiles:
        return JobFiles.of(self.root / "jobs" / str(job["job_id"]))

    def rows(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.root / "mlflow.db")) as database:
            return database.execute(query, values).fetchall()

    def tags(self, key: str, job_id: str) -> dict[str, str]:
        """A tag of a job's conversions, by their names, as the database has it; of runs that ended."""
        query = (
            "select c.value, t.value from runs r join params c on c.run_uuid = r.run_uuid and c.key = 'conversion' "
            "join tags j on j.run_uuid = r.run_uuid and j.key = 'almaflow.job_id' "
            "join tags t on t.run_uuid = r.run_uuid and t.key = ? "
            "where j.value = ? and r.lifecycle_stage = 'active' and r.end_time is not null order by c.value"
        )
        found = self.rows(query, f"almaflow.{key}", job_id)
        assert len(dict(found)) == len(found), "each conversion has one run"
        return dict(found)

    def metrics(self, key: str, job_id: str) -> dict[str, float]:
        query = (
            "select c.value, m.value from latest_metrics m "
            "join params c on c.run_uuid = m.run_uuid and c.key = 'conversion' "
            "join tags j on j.run_uuid = m.run_uuid and j.key = 'almaflow.job_id' where m.key = ? and j.value = ?"
        )
        return dict(self.rows(query, key, job_id))

    def job_run(self, job_id: str) -> tuple[str, str]:
        """Its own run's ID and status; a job has one."""
        query = (
            "select r.run_uuid, r.status from runs r "
            "join tags j on j.run_uuid = r.run_uuid and j.key = 'almaflow.job_id' "
            "join tags k on k.run_uuid = r.run_uuid and k.key = 'almaflow.kind' "
            "where j.value = ? and k.value = 'job' and r.lifecycle_stage = 'active'"
        )
        ((run_id, status),) = self.rows(query, job_id)
        return run_id, status


@pytest.fixture
def older(home: Path) -> Older:
    """The home as 0.1 left it, at the place of the test's own."""
    with tarfile.open(WRITTEN) as tar:
        tar.extractall(home, filter="data")
    for path in (path for path in home.rglob("*") if path.is_file()):
        text = path.read_text(encoding="utf-8")
        if PLACE in text:
            path.write_text(text.replace(PLACE, str(home)), encoding="utf-8")
    script = home / "mlflow.sql"
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.executescript(script.read_text(encoding="utf-8"))
    script.unlink()
    return Older(home)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs a command and gives what it printed."""
    monkeypatch.setenv("COLUMNS", "160")

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        out, err = capsys.readouterr()
        assert ended.value.code == 0, err
        return out

    return run


def names(found: list[dict[str, Any]]) -> list[str]:
    return [each["planned"]["name"] for each in found]


def asked(raw: dict[str, Any]) -> list[str]:
    conversions: list[str] = raw["config"]["conversions"]
    return conversions


def plan_of(raw: dict[str, Any], job: Job) -> tuple[PlannedConversion, ...]:
    """What it began, and what it would have come to."""
    known = {outcome.planned.name: outcome.planned for outcome in job.outcomes}
    return tuple(known.get(name) or plan([name], 1, "cpu", allow_device_override=True)[0] for name in asked(raw))


def test_it_is_a_home_as_it_was_left_at_its_place(older: Older) -> None:
    assert len(older.finished) == 3
    statuses = {each["planned"]["name"]: each["status"] for each in older.finished[0]["outcomes"]}
    assert set(statuses.values()) == {"ok", "failed", "unavailable"}
    assert len(names(older.away["outcomes"])) == 2
    assert NEVER_BEGUN not in names(older.interrupted["outcomes"]) + names(older.killed["outcomes"])
    assert older.killed["ended_at"] is None
    assert older.interrupted["interrupted"]
    for path in (path for path in older.root.rglob("*") if path.is_file() and path.name != "mlflow.db"):
        assert PLACE not in path.read_text(encoding="utf-8")


def _common(read: object, stored: object) -> object:
    """What was read, without the fields that records have got since."""
    if isinstance(read, dict) and isinstance(stored, dict):
        return {key: _common(value, stored[key]) for key, value in read.items() if key in stored}
    if isinstance(read, list | tuple) and isinstance(stored, list) and len(read) == len(stored):
        return [_common(*pair) for pair in zip(read, stored, strict=True)]
    return read


def test_every_job_is_read_with_all_that_it_measured(older: Older) -> None:
    for path in sorted(older.root.glob("jobs/*/job.json")):
        raw = json.loads(path.read_text(encoding="utf-8"))
        job = JobFiles.of(path.parent).read_job()
        assert (job.job_id, job.environment, job.tracked) == (raw["job_id"], raw["environment"], raw["tracked"])
        read = {outcome.planned.name: to_dict(outcome) for outcome in job.outcomes}
        for outcome in raw["outcomes"]:
            found = read[outcome["planned"]["name"]]
            del found["planned"]["traits"]  # there were none
            for key in ("planned", "status", "measurement", "failure", "interrupted", "job_id"):
                assert _common(found[key], outcome[key]) == outcome[key]
            made = [{**each, "version": str(each["version"])} for each in outcome["predictions"]]  # a number was one
            assert found["predictions"] == made
        stored = [each["measurement"] for each in raw["references"]]
        assert _common([to_dict(each.measurement) for each in job.references], stored) == stored


def test_a_larger_job_knows_who_measured_what_it_took_over(older: Older) -> None:
    smaller, larger = older.raw(7)
    job = older.files(larger).read_job()
    owners = {outcome.planned.name: outcome.job_id for outcome in job.outcomes}
    assert owners == {"EAGER": smaller["job_id"], "ONNX_CPU": smaller["job_id"], "JIT_TRACE": None}
    assert [outcome.planned.name for outcome in job.references] == ["EAGER"]


def test_what_was_kept_after_the_last_record_of_a_killed_job_counts(older: Older) -> None:
    kept = {path.parent.name.partition("-")[2] for path in older.files(older.killed).root.glob("*/*/outcome.json")}
    assert {outcome.planned.name for outcome in older.files(older.killed).read_job().outcomes} == kept
    assert "ONNX_CPU" in kept


def test_fingerprints_are_those_in_the_store(older: Older) -> None:
    """Another one would cut every series off, and measure again what is there."""
    for raw in [*older.finished, older.interrupted, older.killed]:
        job = older.files(raw).read_job()
        prints = {outcome.planned.name: fingerprint(job, outcome.planned) for outcome in job.outcomes}
        keys = {outcome.planned.name: logical_key(job, outcome) for outcome in job.outcomes}
        for tag, made in ("fingerprint", prints), ("logical_key", keys):
            stored = older.tags(tag, raw["job_id"])
            assert stored
            assert {name: made[name] for name in stored} == stored
        assert plan_fingerprint(job, plan_of(raw, job)) == raw["plan_fingerprint"]
        of_job = "select value from tags where key = 'almaflow.plan_fingerprint' and run_uuid = ?"
        assert older.rows(of_job, older.job_run(raw["job_id"])[0]) == [(raw["plan_fingerprint"],)]


@pytest.mark.slow
def test_sync_writes_what_a_killed_job_left_and_then_nothing(older: Older, said: Callable[..., str]) -> None:
    job_id = older.killed["job_id"]
    assert [job.job_id for _, job in pending(resolve_uri(None))] == [job_id]
    before = older.tags("status", job_id)
    assert "ONNX_CPU" not in before
    assert older.job_run(job_id)[1] == "RUNNING"
    first = said("sync")
    assert f"job {job_id}" in first
    assert f"almaflow sync --uri {AWAY}" in first
    after = older.tags("status", job_id)
    assert after == before | {"ONNX_CPU": "ok"}
    assert older.job_run(job_id)[1] == "KILLED"
    assert older.metrics("latency_ms", job_id).keys() >= {"EAGER", "ONNX_CPU"}
    runs = older.rows("select run_uuid, status, lifecycle_stage, end_time from runs order by run_uuid")
    second = said("sync")
    assert "has everything that was measured for it" in second
    assert job_id not in second
    assert older.rows("select run_uuid, status, lifecycle_stage, end_time from runs order by run_uuid") == runs
    (waiting,) = pending()
    assert (waiting[1].job_id, waiting[1].store) == (older.away["job_id"], AWAY)


def test_an_interrupted_job_goes_on_with_what_is_missing_and_nothing_else(older: Older) -> None:
    raw = older.interrupted
    job = older.files(raw).read_job()
    planned = plan_of(raw, job)
    again = replace(
        job,
        job_id="later",
        directory=str(older.root / "jobs" / "later"),
        outcomes=(),
        run_id=None,
        ended_at=None,
        interrupted=False,
        tracked=False,
    )
    resumed = resume(again, planned, resolve_uri(None), failures_only=False)
    unfinished = [each["planned"]["name"] for each in raw["outcomes"] if each["interrupted"]]
    assert unfinished == ["JIT_TRACE"]
    assert [each.name for each in resumed.to_measure] == [*unfinished, NEVER_BEGUN]
    assert [each.name for each in resumed.to_remeasure] == ["EAGER"]
    known = [each for each in raw["outcomes"] if not each["interrupted"]]
    assert [each.planned.name for each in resumed.job.outcomes] == names(known)
    for outcome, expected in zip(resumed.job.outcomes, known, strict=True):
        assert _common(to_dict(outcome.measurement), expected["measurement"]) == expected["measurement"]
        assert outcome.run_id == expected["run_id"]
    assert (resumed.job.job_id, resumed.job.run_id) == (raw["job_id"], raw["run_id"])
    retried = resume(again, planned, resolve_uri(None), failures_only=True)
    assert [each.name for each in retried.to_measure] == ["OPTIMUM_QUANTO_WI2", "JIT_TRACE"]


def test_finished_jobs_are_compared_by_the_stored_figures(older: Older, said: Callable[..., str]) -> None:
    first, second = (each["job_id"] for each in older.finished[:2])
    pairs = json.loads(said("compare", first, second, "--format", "json"))["pairs"]
    found = {
        pair["before"]["conversion"]: [
            (each["before"], each["after"]) for each in pair["differences"] if each["metric"] == "latency_ms"
        ]
        for pair in pairs
    }
    latencies = [older.metrics("latency_ms", job_id) for job_id in (first, second)]
    assert found == {name: [tuple(figures.get(name) for figures in latencies)] for name in asked(older.finished[0])}
    table = said("compare", first, second)
    assert [name for name in asked(older.finished[0]) if name not in table] == []


def test_a_report_shows_the_stored_figures(older: Older, said: Callable[..., str], tmp_path: Path) -> None:
    job_id, page = older.finished[-1]["job_id"], tmp_path / "page.html"
    said("report", job_id, "--output", str(page))
    text = page.read_text(encoding="utf-8")
    assert [name for name in asked(older.finished[-1]) if name not in text] == []
    shown = [float(figure) for figure in re.findall(r">(\d+(?:\.\d+)?)~?<", text)]
    for latency_ms in older.metrics("latency_ms", job_id).values():
        assert any(figure == pytest.approx(latency_ms, rel=SHOWN) for figure in shown)


def test_accuracy_has_the_finished_jobs_by_each_predictor_and_by_one_that_judged_later(
    older: Older, said: Callable[..., str]
) -> None:
    series = json.loads(said("accuracy", "--json"))["series"]
    of_one = [each for each in series if each["batch_size"] in {1, "1"}]
    assert {each["predictor"] for each in of_one} == {"given", "calibrated", "roofline@2"}
    given = {each["conversion"]: each for each in of_one if each["predictor"] == "given"}
    floors = [older.metrics("latency/floor", each["job_id"]) for each in older.finished]
    assert given.keys() == older.metrics("latency_ms", older.finished[0]["job_id"]).keys()
    for name, each in given.items():
        expected = [100 * (ms - floor[name]) / floor[name] for ms, floor in zip((2, 2, 3), floors, strict=True)]
        assert each["n"] == len(expected)
        assert each["error_pct"]["value"] == pytest.approx(sum(expected) / len(expected))


def test_history_counts_each_stored_run(older: Older, said: Callable[..., str]) -> None:
    found = json.loads(said("conversions", "--history", "--json"))
    query = (
        "select c.value, t.value, count(*) from runs r "
        "join params c on c.run_uuid = r.run_uuid and c.key = 'conversion' "
        "join tags t on t.run_uuid = r.run_uuid and t.key = 'almaflow.status' "
        "join tags k on k.run_uuid = r.run_uuid and k.key = 'almaflow.kind' "
        "where k.value = 'conversion' and r.lifecycle_stage = 'active' group by c.value, t.value"
    )
    counted: Counter[tuple[str, str]] = Counter()
    for each in found:
        counted.update({(each["conversion"], status): each[status] for status in ("ok", "failed", "unavailable")})
    assert +counted == {(name, status): count for name, status, count in older.rows(query)}
    (broken,) = (each for each in found if each["conversion"] == "OPTIMUM_QUANTO_WI2")
    assert broken["why"].startswith("wrong_output: ")


def test_a_sweep_is_known_again_and_says_which_job_is_missing(older: Older, said: Callable[..., str]) -> None:
    (files,) = sweeps()
    sweep, jobs = files.read(), files.jobs()
    assert (sweep.ended_at, sweep.tracked) == (None, False)
    assert sweep.planned is not None
    assert [job.number for job in jobs] == [0]
    rows = summarise(sweep, jobs).rows
    assert [(row.what, row.problem) for row in rows] == [("batch_size=5", None), ("batch_size=6", NOT_RUN)]
    assert rows[0].job_id == older.raw(5)[0]["job_id"]
    again = begin("another", sweep.overrides, sweep.planned, resumed=True)
    again.lock.release()
    assert again.files.root == files.root
    assert f"sweep {sweep.sweep_id}, 2 jobs: written" in said("sync")
    assert files.read().tracked


def test_what_was_calibrated_is_used_on_that_machine(older: Older, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = yaml.safe_load((older.root / "conf" / "hardware" / "here.yaml").read_text(encoding="utf-8"))
    found = calibrations.read("here")
    here = replace(machine.describe(), cpu=found.processor, threads=raw["threads"], gpus=())
    monkeypatch.setattr(machine, "describe", lambda: here)
    job = compose(["model=simple", "hardware=cpu"])
    hardware = resolve_hardware(job)
    assert hardware.limits == from_dict(Limits, raw["limits"])
    learnt = resolve_learnt(job, hardware)
    assert {source: each.version for source, each in learnt.items()} == {
        source: each["version"] for source, each in raw["learnt"].items()
    }
    for source, each in raw["learnt"].items():
        for name, backend in each["backends"].items():
            parameters = learnt[source].backends[name].parameters
            assert sum(parameters.values()) == pytest.approx(_sum(backend["parameters"]))
    named = compose([f"hydra.searchpath=[file://{older.root}/conf]", "model=simple", "hardware=here"])
    assert resolve_learnt(named, hardware) == learnt


def test_the_times_of_small_networks_are_learnt_from_again(older: Older) -> None:
    times = load_times("here")
    raw = json.loads((older.root / "calibrations" / "here.json").read_text(encoding="utf-8"))
    assert times.floors_ms == raw["floors_ms"]
    assert times.workloads.keys() == raw["workloads"].keys()


def test_a_failure_is_reproduced_by_the_same_task(older: Older) -> None:
    outcome, path = _failed(older)
    job = older.files(older.finished[0]).read_job()
    task = _task(reproduction(outcome, job))
    del task["conversion"]["traits"]  # there were none
    stored = _task(path.read_text(encoding="utf-8"))
    assert _common(task, stored) == stored


@pytest.mark.slow
def test_an_older_script_still_reproduces_the_failure(older: Older, tmp_path: Path) -> None:
    outcome, path = _failed(older)
    assert outcome.measurement
    assert outcome.measurement.fidelity
    done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"ok={outcome.measurement.fidelity.ok}" in done.stdout.splitlines()[-1]
    assert "DeprecationWarning" not in done.stdout


def _failed(older: Older) -> tuple[Outcome, Path]:
    """The conversion that failed in a finished job, and the script that it left."""
    raw = older.finished[0]
    (path,) = older.files(raw).root.glob("conversions/*/reproduce.py")
    outcomes = older.files(raw).read_job().outcomes
    (outcome,) = (each for each in outcomes if path.parent.name.endswith(each.planned.name))
    return outcome, path


def _task(script: str) -> Any:
    found = re.search(r'r"""\n(\{.*?\n\})\s*"""', script, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def _sum(parameters: dict[str, Any]) -> float:
    return sum(_sum(each) if isinstance(each, dict) else each for each in parameters.values())
