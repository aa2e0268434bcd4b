"""What a job keeps has no secrets, is for its user alone where it has inputs, and stays readable in a shared store."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import failed, job, planned

from almaflow.cli import main
from almaflow.config.composition import compose
from almaflow.errors import TrackingError, UsageError
from almaflow.jobs.artifacts import write_reproduction, write_summary
from almaflow.jobs.files import JobFiles
from almaflow.jobs.request import make_request
from almaflow.jobs.tasks import measuring_task, new_job, reference_task
from almaflow.measure.work_directory import end_work_directory, make_work_directory
from almaflow.processes.environment import worker_environment
from almaflow.processes.logs import REASON_LENGTH, last_line
from almaflow.processes.worker_result import read_result
from almaflow.records import Failure, FailureKind, ModelSpec, TargetSpec, WorkerResult, write_json
from almaflow.report.reproduction import reproduction
from almaflow.sweeps.files import SweepFiles
from almaflow.tracking.artifacts import LARGEST_MB, fetched
from almaflow.tracking.reader import StoredRun
from almaflow.tracking.resumable import earlier_job
from almaflow.worker.failures import MESSAGE_LIMIT, headline

if TYPE_CHECKING:
    from collections.abc import Iterator

PLANTED = "pl4nted-s3cret"
URI = f"http://alice:{PLANTED}@127.0.0.1:9/x?token={PLANTED}"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALMAFLOW_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(params=[0o000, 0o022])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def nothing_planted_in(directory: Path) -> bool:
    texts = [file.read_text(encoding="utf-8") for file in directory.rglob("*") if file.is_file()]
    assert texts
    return not any(PLANTED in text for text in texts)


def test_only_workers_get_the_secrets_of_a_model(home: Path) -> None:
    overrides = [f"model.kwargs.api_key={PLANTED}", f"tracking.uri='{URI}'", f"+model.kwargs.pool.password={PLANTED}"]
    request = make_request(compose(["model=simple", *overrides]))
    made = new_job(request)
    files = JobFiles.of(made.directory)
    files.create()
    task = reference_task(made, request, files)
    for each in (task, measuring_task(task, made, 0)):
        assert each.model.kwargs == {"api_key": PLANTED, "pool": {"password": PLANTED}}
    raised = replace(failed("EAGER"), failure=Failure(FailureKind.ERROR, "it broke", "convert", "Traceback"))
    directory = files.conversion_dir(0, raised.planned)
    files.write_job(made)
    files.write_outcome(directory, raised)
    write_reproduction(directory, raised, made)
    assert "***" in (files.root / "job.json").read_text(encoding="utf-8")
    assert nothing_planted_in(home)
    assert made.config["model"]["kwargs"] == {"api_key": "***", "pool": {"password": "***"}}


def test_what_a_model_said_is_masked_before_anything_is_kept(tmp_path: Path) -> None:
    from almaflow.analysis import analyse

    said = f"cannot open postgresql://me:{PLANTED}@db/x"
    write_json(tmp_path / "result.json", WorkerResult(failure=Failure(FailureKind.ERROR, said, "load", f"T\n{said}")))
    failure = read_result(tmp_path).failure
    told = "cannot open postgresql://***@db/x"
    assert failure == Failure(FailureKind.ERROR, told, "load", f"T\n{told}")
    write_json(tmp_path / "result.json", WorkerResult(bad_input=said))
    assert read_result(tmp_path).bad_input == "cannot open postgresql://***@db/x"
    made = job(replace(failed("EAGER"), failure=failure))
    files = JobFiles.of(tmp_path / "job")
    files.create()
    write_summary(files, made, analyse(made))
    assert nothing_planted_in(files.summary)


def test_a_secret_is_masked_before_its_message_is_cut() -> None:
    error = RuntimeError(f"{'x' * (MESSAGE_LIMIT - 60)} postgresql://somebody:{PLANTED}-{'y' * 60}@db/x")
    assert PLANTED[:6] not in headline(error)
    assert PLANTED[:6] not in last_line(f"{'x' * (REASON_LENGTH - 40)} postgresql://somebody:{PLANTED}{'y' * 60}@db/x")


def test_a_log_is_masked_when_it_is_kept(tmp_path: Path) -> None:
    work = make_work_directory(tmp_path)
    (work / "worker.log").write_text(f"trying {URI}\n", encoding="utf-8")
    end_work_directory(tmp_path, 0)
    assert (tmp_path / "worker.log").read_text(encoding="utf-8") == "trying http://***@127.0.0.1:9/x?token=***\n"


@pytest.mark.usefixtures("_umask")
def test_a_job_and_a_sweep_are_for_their_user_alone_whatever_the_umask(home: Path) -> None:
    files = JobFiles.of(home / "jobs" / "one")
    files.create()
    (home / "jobs" / "older").mkdir()
    resumed = files.going_on_in(home / "jobs" / "older")
    sweep = SweepFiles.of("s")
    with sweep.lock():
        pass
    assert {mode(each) for each in (files.root, resumed.root, sweep.root)} == {0o700}


@pytest.mark.usefixtures("_umask")
def test_others_can_read_what_reaches_a_store_of_files(home: Path, tmp_path: Path) -> None:
    from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

    files = JobFiles.of(home / "jobs" / "one")
    files.create()
    directory = files.conversion_dir(0, planned())
    files.write_outcome(directory, failed("EAGER"))
    store: Any = LocalArtifactRepository(str(tmp_path / "store"))
    store.log_artifacts(str(directory))
    copied = [*(tmp_path / "store").rglob("*")]
    assert copied
    assert all(mode(each) & stat.S_IROTH for each in copied)


def test_compiled_code_is_loaded_from_a_private_directory_only(home: Path) -> None:
    request = make_request(compose(["model=simple", "measure.compile_cache=warm"]))
    made = new_job(request)
    files = JobFiles.of(made.directory)
    files.create()
    cache = worker_environment(reference_task(made, request, files))["TORCHINDUCTOR_CACHE_DIR"]
    assert cache == str(home / "compile-cache")
    assert mode(home / "compile-cache") == 0o700


@pytest.mark.slow
def test_the_script_of_a_model_in_hand_loads_no_pickle() -> None:
    model = ModelSpec("mine", pickle_path="/tmp/almaflow-x/model.pkl", batches_path="/tmp/almaflow-x/batches.pt")  # noqa: S108 - what must not be there
    script = reproduction(failed("EAGER"), replace(job(), model=model))
    assert "almaflow-x" not in script
    with pytest.raises(SystemExit, match=r"given to almaflow\.validate and is not kept"):
        exec(compile(script, "reproduce.py", "exec"), {})  # noqa: S102 - our own script, which ends at once


def test_hydra_leaves_no_configuration_of_a_sweep_behind(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "-m", "model=simple", "hardware=h100", "batch_size=1,2", f"tracking.uri='{URI}'"]
    with pytest.raises(SystemExit) as ended:
        main([*words, f"+model.kwargs.api_key={PLANTED}"])
    assert ended.value.code == 2
    assert nothing_planted_in(home)
    (left,) = (home / "multirun").iterdir()
    assert mode(left) == 0o700
    assert (left / "multirun.yaml").resolve() == Path(os.devnull)
    said = capsys.readouterr()
    assert PLANTED not in said.out + said.err


@pytest.mark.parametrize(
    "words",
    [
        ["model=simple", f"tracking.urii={URI.partition('?')[0]}"],
        ["model=simple", f"+x y={URI}"],
        ["model=simple", f"model.kwargs.api_key={PLANTED}", f"tracking.uri='{URI}'", "--cfg", "job"],
        ["model=simple", f"tracking.uri='{URI}'", "batch_size=none"],
        ["model=simple", f"batch_size={URI.partition('?')[0]}"],
    ],
)
def test_no_error_and_no_output_of_hydra_shows_a_secret(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", *words])
    said = capsys.readouterr()
    assert said.out + said.err
    assert PLANTED not in said.out + said.err


def test_a_configuration_that_is_wrong_shows_no_secret_in_its_causes() -> None:
    with pytest.raises(UsageError) as caught:
        compose(["model=simple", f"tracking.urii=http://alice:{PLANTED}@h"])
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_fault_of_our_own_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        message = f"could not parse {URI}\x1b[2J"
        raise RuntimeError(message)

    monkeypatch.setattr("almaflow.cli.almaflow.main", broken)
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert "RuntimeError: could not parse http://***@" in said
    assert PLANTED not in said
    assert "\x1b" not in said


class Store:
    """A client of a store that others write to."""

    tracking_uri = "http://127.0.0.1:9"

    def __init__(self, path: str, size: int | None = 3, *, is_dir: bool = False) -> None:
        self.path, self.file_size, self.is_dir = path, size, is_dir
        self.places: list[Path] = []

    def list_artifacts(self, _: str) -> list[Any]:
        return [self]

    def download_artifacts(self, _: str, name: str, directory: str) -> str:
        self.places.append(Path(directory))
        return str(Path(directory, name))


@pytest.mark.parametrize("run_id", ["../../elsewhere", "/etc", "a1b2"])
def test_what_is_fetched_stays_below_its_directory_whatever_the_run_is_called(run_id: str, tmp_path: Path) -> None:
    store: Any = Store("config.yaml")
    path = fetched(store, run_id, "config.yaml", str(tmp_path))
    assert path is not None
    assert path.resolve().is_relative_to(tmp_path)
    assert store.places[0].parent == tmp_path


def test_neither_directories_nor_huge_files_are_fetched(tmp_path: Path) -> None:
    huge: Any = Store("config.yaml", (LARGEST_MB + 1) * 1_000_000)
    with pytest.raises(TrackingError, match="at most 256 MB are read"):
        fetched(huge, "r", "config.yaml", str(tmp_path))
    directory: Any = Store("config.yaml", None, is_dir=True)
    assert fetched(directory, "r", "config.yaml", str(tmp_path)) is None
    assert huge.places == directory.places == []


def test_a_stored_job_id_names_no_place_outside_of_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = ("../../elsewhere", "/etc", "..", "20261130-101500-a1b2c3")
    runs = [StoredRun(each, "e", 0.0, True, {}, {}, {"almaflow.job_id": each}) for each in ids]
    monkeypatch.setattr("almaflow.tracking.resumable.job_runs", lambda *_: iter(runs))
    found = earlier_job(job(), "sqlite:///x.db")
    assert found is not None
    assert found.run_id == ids[-1]


def test_a_data_loader_keeps_its_secrets_to_itself() -> None:
    model = ModelSpec("m", arch="resnet18", data_loader=TargetSpec("x.load", {"hub_token": PLANTED, "size": 3}))
    request = make_request(compose(["model=resnet18"]), model=model)
    assert new_job(request).model.data_loader == TargetSpec("x.load", {"hub_token": "***", "size": 3})
