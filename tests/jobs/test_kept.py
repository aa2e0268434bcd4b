"""Converted models stay on disk as ``keep`` says, and are exported from there; what cannot be says why."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.example_jobs import changed, failed, job, ok, planned

from almaflow import machine
from almaflow.errors import AlmaflowError, UsageError
from almaflow.jobs.files import JobFiles
from almaflow.jobs.keep_setting import NOTHING, Keep, keep_of
from almaflow.jobs.kept import KeptModels
from almaflow.jobs.kept_check import check_export
from almaflow.jobs.kept_export import export_kept, job_of, kept_model
from almaflow.measure.conversion_run import ConversionRun
from almaflow.measure.progress import Progress
from almaflow.measure.work_directory import export_of
from almaflow.records import (
    EvaluateSpec,
    FailureKind,
    MeasureSpec,
    ModelSpec,
    Outcome,
    QualityDrop,
    Status,
    TensorSpec,
    write_json,
)
from almaflow.records.export import Export, Format, kept_exports, read_export
from almaflow.records.specs import Choosing
from almaflow.report.terminal import kept_lines

if TYPE_CHECKING:
    from almaflow.records import Job

MODEL = ModelSpec("mine", target="a.b")
TVM = replace(planned("COMPILE_TVM"), family="tvm")
PLAN = (*(planned(name) for name in ("EAGER", "ONNX_CPU", "OPENVINO")), TVM)
LOAD = "import numpy as np\ndef load():\n    return lambda x: {factor} * np.asarray(x)\n"


def export_at(directory: Path, name: str, factor: int = 2) -> Export:
    """Write an export as a worker does: a model that doubles, or does something else."""
    import numpy as np

    from almaflow.conversions.exports import check

    directory.mkdir(parents=True)
    x = np.ones((2, 3), np.float32)
    np.savez(directory / "example.npz", input_0=x, output_0=2 * x)
    (directory / "model.onnx").write_bytes(b"0" * 1000)
    (directory / "load.py").write_text(LOAD.format(factor=factor), encoding="utf-8")
    (directory / "check.py").write_text(check_source(check), encoding="utf-8")
    tensor = TensorSpec((2, 3), "float32", "x")
    export = Export(
        name, "mine", Format.ONNX, ("model.onnx",), (tensor,), (replace(tensor, name=""),), ("numpy==2",), 50.0, 0.99,
        1, "cpu", 0.001,
    )  # fmt: skip
    write_json(directory / "export.json", export)
    return export


def check_source(module: Any) -> str:
    with open(module.__file__, encoding="utf-8") as stream:  # noqa: PTH123 - a module's file
        return stream.read()


def written(root: Path, name: str, latency_ms: float) -> tuple[ConversionRun, Outcome]:
    """A conversion whose worker has written its model."""
    run = ConversionRun(planned(name), root / "conversions" / name)
    run.outcome = changed(ok(name, latency_ms), export_mb=0.001)
    export_at(export_of(run.directory), name)
    return run, run.outcome


ALL = Keep(frozenset({"EAGER", "ONNX_CPU", "OPENVINO"}))
BEST = replace(ALL, only_best=True)


class Said(Progress):
    """Remembers notes and warnings."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


class Silent(Progress):
    """Must not be told anything."""

    note = warn = staticmethod(pytest.fail)  # type: ignore[assignment]


def kept_models(root: Path, keep: Keep) -> KeptModels:
    return KeptModels(root, keep, Silent())


def kept_names(root: Path) -> set[str]:
    return set(kept_exports(root))


def test_a_new_best_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    kept, outcomes = kept_models(tmp_path, BEST), list[Outcome]()
    for name, latency_ms, left in (
        ("EAGER", 20.0, "EAGER"),
        ("ONNX_CPU", 9.0, "ONNX_CPU"),
        ("OPENVINO", 10.0, "ONNX_CPU"),
    ):
        run, outcome = written(tmp_path, name, latency_ms)
        outcomes.append(outcome)
        kept.take(run, outcome)
        kept.prune(job(*outcomes))
        assert kept_names(tmp_path) == {left}
        assert not export_of(run.directory).exists()


def test_the_best_is_the_one_that_was_chosen_and_one_that_lost_too_much_goes_at_once(tmp_path: Path) -> None:
    kept = kept_models(tmp_path, BEST)
    small = {"export_mb": 0.001, "model_mb": 4.0, "quality_drops": {"top1": QualityDrop(0.0)}}
    made = replace(
        job(),
        evaluate=EvaluateSpec("a.b", max_drop=0.01),
        choose=Choosing(max={"memory/model_mb": 9}, by="memory/model_mb"),
    )
    for name, latency_ms, values, left in (
        ("EAGER", 20.0, {}, {"EAGER"}),
        ("ONNX_CPU", 9.0, {"model_mb": 10.0}, {"EAGER", "ONNX_CPU"}),  # beyond the limit, which is told at the end
        ("OPENVINO", 5.0, {"quality_drops": {"top1": QualityDrop(0.05)}, "model_mb": 1.0}, {"EAGER", "ONNX_CPU"}),
    ):
        run, _ = written(tmp_path, name, latency_ms)
        outcome = changed(ok(name, latency_ms), **(small | values))
        run.outcome = outcome
        made = replace(made, outcomes=(*made.outcomes, outcome))
        kept.take(run, outcome)
        kept.prune(made)
        assert kept_names(tmp_path) == left
    kept.settle(replace(made, interrupted=True))
    assert kept_names(tmp_path) == left
    kept.settle(made)
    assert kept_names(tmp_path) == {"EAGER"}


@pytest.mark.parametrize(
    ("keep", "left", "told"),
    [
        (
            replace(BEST, spares_earlier=True),
            {"EAGER", "ONNX_CPU"},
            ["keep: left what an earlier attempt had kept: EAGER; keep=best removes what is not the best"],
        ),
        (BEST, {"ONNX_CPU"}, ["keep: removed what an earlier attempt had kept: EAGER"]),
        (NOTHING, set(), ["keep: removed what an earlier attempt had kept: EAGER, ONNX_CPU"]),
        (Keep(frozenset({"EAGER"})), {"EAGER"}, ["keep: removed what an earlier attempt had kept: ONNX_CPU"]),
        (
            ALL,
            {"EAGER", "ONNX_CPU"},
            [
                (
                    "keep: not on disk as converted models, though measured earlier: OPENVINO; "
                    "to keep them, run the job without resume"
                )
            ],
        ),
    ],
)
def test_a_job_that_goes_on_keeps_what_it_asks_for_now_and_says_so(
    tmp_path: Path, keep: Keep, left: set[str], told: list[str]
) -> None:
    outcomes = [ok("OPENVINO", 30.0)]
    for name, latency_ms in (("EAGER", 20.0), ("ONNX_CPU", 9.0)):
        run, outcome = written(tmp_path, name, latency_ms)
        kept_models(tmp_path, ALL).take(run, outcome)
        outcomes.append(outcome)
    said = Said()
    again = KeptModels(tmp_path, keep, said)
    if keep.spares_earlier:
        again.prune(job(*outcomes))
    again.settle(job(*outcomes))
    assert kept_names(tmp_path) == left
    assert said.lines == told


def test_a_damaged_one_is_told_and_the_others_are_as_they_should_be(done: Job, tmp_path: Path) -> None:
    root = Path(done.directory)
    export_at(root / "kept" / "EAGER", "EAGER")
    (root / "kept" / "JIT_TRACE").mkdir()
    (root / "kept" / "JIT_TRACE" / "export.json").write_text("{", encoding="utf-8")
    said = Said()
    KeptModels(root, BEST, said).settle(done)
    assert kept_names(root) == {"ONNX_CPU"}
    assert said.lines[0].startswith("a converted model that was kept is damaged: ")
    assert any("damaged: " in line and "JIT_TRACE" in line for line in kept_lines(done))
    assert export_kept(done, None, tmp_path / "out").export.conversion == "ONNX_CPU"
    with pytest.raises(UsageError, match=r"kept are ONNX_CPU; .*JIT_TRACE"):
        export_kept(done, "JIT_TRACE", tmp_path / "again")


def test_all_stay_where_all_are_asked_for_and_what_does_not_count_never(tmp_path: Path) -> None:
    kept = kept_models(tmp_path, ALL)
    for name in ("EAGER", "ONNX_CPU"):
        kept.take(*written(tmp_path, name, 20.0))
    run, outcome = written(tmp_path, "OPENVINO", 1.0)
    kept.take(run, replace(outcome, interrupted=True, status=Status.FAILED))
    kept.prune(job())
    assert kept_names(tmp_path) == {"EAGER", "ONNX_CPU"}


def test_what_could_not_be_written_or_moved_is_told_in_one_line(tmp_path: Path) -> None:
    said = Said()
    kept = KeptModels(tmp_path, ALL, said)
    run, outcome = written(tmp_path, "EAGER", 20.0)
    kept.take(run, changed(outcome, export_mb=None, not_kept="No space left on device"))
    (tmp_path / "kept").write_text("in the way", encoding="utf-8")
    kept.take(run, outcome)
    assert said.lines[0] == "EAGER: its converted model is not kept (No space left on device)"
    assert said.lines[1].startswith("EAGER: its converted model is not kept (")
    assert len(said.lines) == 2


def test_the_setting_names_what_can_be_kept() -> None:
    assert keep_of("none", PLAN, MODEL) == NOTHING
    best = keep_of("best", PLAN, MODEL)
    assert best.only_best
    assert best.names == {"EAGER", "ONNX_CPU", "OPENVINO"}
    assert keep_of(None, PLAN, MODEL) == replace(best, spares_earlier=True)
    assert not best.spares_earlier
    everything = keep_of("all", PLAN, MODEL)
    assert (everything.only_best, everything.not_exportable) == (False, ("COMPILE_TVM",))
    assert keep_of("ONNX_CPU", PLAN, MODEL).names == {"ONNX_CPU"}
    assert keep_of(["openvino", 0], PLAN, MODEL).names == {"OPENVINO", "EAGER"}
    assert keep_of("all", PLAN, ModelSpec("mine", pickle_path="x")).not_exportable == ("EAGER", "COMPILE_TVM")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (["ONX_CPU"], "keep=[ONX_CPU]: unknown conversion ONX_CPU; nearest: ONNX_CPU"),
        ("bst", "keep=bst: is neither a conversion nor best, all or none; the nearest is best"),
        (["JIT_TRACE"], "keep=JIT_TRACE: the job does not run it"),
        (["COMPILE_TVM"], "keep=COMPILE_TVM: cannot be exported: almaflow's own torch.compile backend"),
    ],
)
def test_a_setting_that_cannot_be_met_is_refused(setting: list[str] | str, message: str) -> None:
    with pytest.raises(UsageError, match="keep=") as raised:
        keep_of(setting, PLAN, MODEL)
    assert message in str(raised.value)


@pytest.fixture
def done(home: Path) -> Job:
    """A job that has kept ONNX_CPU, in almaflow's home."""
    root = home / "jobs" / "20260101-000000-abcdef"
    files = JobFiles.of(root)
    files.create()
    export_at(root / "kept" / "ONNX_CPU", "ONNX_CPU")
    outcomes = (
        ok("EAGER", 20.0),
        changed(ok("ONNX_CPU", 10.0), export_mb=0.001),
        failed("OPENVINO", FailureKind.CRASHED, message="killed by SIGABRT"),
        replace(ok("COMPILE_TVM", 5.0), planned=TVM),
        changed(ok("JIT_TRACE", 30.0), not_kept="No space left on device"),
    )
    made = replace(
        job(*outcomes), job_id=root.name, directory=str(root), model=MODEL, config={"keep": "best"}, ended_at=1.0
    )
    files.write_job(made)
    return made


def test_the_best_that_is_kept_becomes_a_folder_with_a_readme(done: Job, tmp_path: Path) -> None:
    found, conversion = job_of(done.job_id, "sqlite:///nowhere.db")
    assert conversion is None
    exported = export_kept(found, None, tmp_path / "out")
    names = {path.name for path in exported.directory.iterdir()}
    assert names == {"README.md", "check.py", "example.npz", "export.json", "load.py", "model.onnx"}
    readme = (exported.directory / "README.md").read_text(encoding="utf-8")
    assert "# ONNX_CPU of mine" in readme
    assert "| latency, median | 10.00 ms |" in readme
    assert "output = model(x)" in readme
    assert read_export(exported.directory).conversion == "ONNX_CPU"


@pytest.mark.parametrize(
    ("former", "compiles", "today"),
    [
        (50.0, False, 90.0),
        (25.0, False, 60.0),
        (25.0, True, 50.0),
        (15.0, True, 35.0),
        (8.0, False, 60.0),
        (3.0, False, 60),
    ],
)
def test_what_an_older_almaflow_kept_is_checked_as_today(
    done: Job, tmp_path: Path, *, former: float, compiles: bool, today: float
) -> None:
    from almaflow.conversions.exports import check

    kept = Path(done.directory) / "kept" / "ONNX_CPU"
    older = replace(read_export(kept), tolerance_db=former, least_equal=0.7, compiles=compiles)
    write_json(kept / "export.json", older)
    (kept / "check.py").write_text("raise SystemExit", encoding="utf-8")
    for directory, export in (
        (kept, kept_model(done, None).export),
        (tmp_path / "out", export_kept(done, None, tmp_path / "out").export),
    ):
        assert (export.tolerance_db, export.least_equal) == (today, 0.999)
        assert read_export(directory) == export
        assert (directory / "check.py").read_text(encoding="utf-8") == check_source(check)


def test_the_folder_is_checked_where_almaflow_cannot_be_imported(done: Job, tmp_path: Path) -> None:
    exported = export_kept(done, "onnx_cpu", tmp_path / "out")
    (exported.directory / "load.py").write_text(
        "try:\n    import almaflow\nexcept ImportError:\n    pass\nelse:\n    raise SystemExit('almaflow is there')\n"
        + LOAD.format(factor=2),
        encoding="utf-8",
    )
    checked = check_export(exported)
    assert checked.fault is None
    assert checked.sqnr_db is None  # equal to the bit
    assert checked.floor_ratio == pytest.approx(checked.floor_ms / exported.row.metrics["latency/floor"])
    several = replace(exported, job=replace(done, measure=MeasureSpec(streams=2)))
    assert check_export(several).floor_ratio is None  # the job timed two calls at once
    assert set(checked.metrics) == {"export/load_s", "export/first_call_s", "export/floor_ms", "export/floor_ratio"}
    (exported.directory / "load.py").write_text(LOAD.format(factor=3), encoding="utf-8")
    assert "SQNR" in (check_export(exported).fault or "")
    (exported.directory / "load.py").write_text("import no_such_runtime\n", encoding="utf-8")
    with pytest.raises(AlmaflowError, match=r"cannot be checked: .*no_such_runtime"):
        check_export(exported)


def test_code_of_ones_own_is_found_and_its_relative_paths_hold(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "factor.txt").write_text("2", encoding="utf-8")
    (tmp_path / "lib").mkdir()
    code = "from pathlib import Path\ndef factor(path):\n    return int(Path(path).read_text())\n"
    (tmp_path / "lib" / "my_factors.py").write_text(code, encoding="utf-8")
    made = replace(done, model=replace(MODEL, directory=str(tmp_path / "mine")))
    exported = export_kept(made, None, tmp_path / "out")
    exported = replace(exported, export=replace(exported.export, builder="my_factors.factor"))
    load = "from my_factors import factor\n" + LOAD.replace("{factor}", "factor('factor.txt')")
    (exported.directory / "load.py").write_text(load, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.path.relpath(tmp_path / "lib"))
    assert check_export(exported).fault is None


@pytest.mark.parametrize(
    ("conversion", "message"),
    [
        ("EAGER", "EAGER: it was not kept; run the job with keep=[EAGER] or keep=all; kept are ONNX_CPU"),
        ("OPENVINO", "OPENVINO: nothing that works could be kept: killed by SIGABRT"),
        ("COMPILE_TVM", "COMPILE_TVM: it cannot be exported: almaflow's own torch.compile backend"),
        ("JIT_TRACE", "JIT_TRACE: it could not be kept: No space left on device"),
        ("TORCH_SCRIPT", "TORCH_SCRIPT: the job did not run it; it ran EAGER"),
        ("ONX", "CONVERSION=[ONX]: unknown conversion ONX"),
    ],
)
def test_what_cannot_be_exported_says_why(done: Job, tmp_path: Path, conversion: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        export_kept(done, conversion, tmp_path / "out")
    assert message in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_directory_with_something_in_it_is_left_alone(done: Job, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine", encoding="utf-8")
    for to in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(UsageError, match="is not an empty directory"):
            export_kept(done, None, to)
    (tmp_path / "link").symlink_to(tmp_path / "not there yet")
    os.mkfifo(tmp_path / "pipe")
    for to in (tmp_path / "link", tmp_path / "pipe"):
        with pytest.raises(UsageError, match="is not an empty directory"):
            export_kept(done, None, to)
        assert os.path.lexists(to)
    (tmp_path / "empty").mkdir()
    assert export_kept(done, None, tmp_path / "empty").directory == tmp_path / "empty"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))])
@pytest.mark.parametrize("existed", [True, False])
def test_half_a_folder_is_removed(
    done: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, *, existed: bool
) -> None:
    to = tmp_path / "out"
    if existed:
        to.mkdir()

    def copy_half(_source: Path, directory: Path, **_options: object) -> None:
        directory.mkdir(exist_ok=True)
        (directory / "model.onnx").write_bytes(b"half")
        raise error

    monkeypatch.setattr("almaflow.jobs.kept_export.shutil.copytree", copy_half)
    with pytest.raises(type(error) if isinstance(error, KeyboardInterrupt) else AlmaflowError):
        export_kept(done, None, to)
    assert (list(to.iterdir()) if existed else to.exists()) in ([], False)


def test_what_lost_too_much_quality_is_exported_only_by_its_name(done: Job, tmp_path: Path) -> None:
    lossy = changed(ok("ONNX_CPU", 10.0), export_mb=0.001, quality_drops={"top1": QualityDrop(0.05, 0.02, 0.08)})
    made = replace(done, outcomes=(ok("EAGER", 20.0), lossy), evaluate=EvaluateSpec("a.b", max_drop=0.01))
    with pytest.raises(UsageError, match="nothing that is kept may be recommended; name one of ONNX_CPU"):
        export_kept(made, None, tmp_path / "out")
    assert export_kept(made, "ONNX_CPU", tmp_path / "out").export.conversion == "ONNX_CPU"
    assert "CONVERSION --to DIR" in kept_lines(made)[0]


def test_a_job_that_kept_nothing_says_why(done: Job, tmp_path: Path) -> None:
    bare = replace(done, directory=str(tmp_path))
    with pytest.raises(UsageError, match="has kept no converted model: it cannot be exported"):
        export_kept(bare, None, tmp_path / "out")
    with pytest.raises(UsageError, match="has kept no converted model: no conversion keeps to the job's limits"):
        export_kept(replace(bare, choose=Choosing(max={"latency_ms": 1})), None, tmp_path / "out")


def test_a_job_that_is_not_here_is_told(home: Path) -> None:
    for named in ("nobody", "../jobs", ""):
        with pytest.raises(UsageError, match="no such job"):
            job_of(named, f"sqlite:///{home}/none.db")
    (machine.home() / "jobs" / "empty").mkdir(parents=True)
    with pytest.raises(UsageError, match="is not on this machine"):
        job_of("empty", f"sqlite:///{home}/none.db")


def test_the_end_of_a_job_tells_what_was_kept_and_how_to_export_it(done: Job, tmp_path: Path) -> None:
    (line,) = kept_lines(done)
    assert line.startswith("Kept: ONNX_CPU, 1 kB; as a folder that works by itself: ")
    assert f"export {done.job_id} ONNX_CPU --to DIR" in line
    assert "(COMPILE_TVM is the fastest, and not kept: almaflow's own torch.compile backend" in line
    bare = replace(done, directory=str(tmp_path))
    assert kept_lines(bare)[0].startswith("Kept: nothing (COMPILE_TVM is the fastest")
    assert kept_lines(replace(bare, config={"keep": "none"})) == []
    assert kept_lines(replace(bare, config={})) == []  # older than the setting
    assert "not kept" in kept_lines(replace(bare, config={"keep": None}))[0]
    assert "not kept" in kept_lines(replace(bare, config={"keep": ["EAGER"]}))[0]


def test_an_export_reads_back_what_was_written(tmp_path: Path) -> None:
    export = export_at(tmp_path / "kept" / "ONNX_CPU", "ONNX_CPU")
    assert kept_exports(tmp_path) == {"ONNX_CPU": (tmp_path / "kept" / "ONNX_CPU", export)}
    assert json.loads((tmp_path / "kept" / "ONNX_CPU" / "export.json").read_text(encoding="utf-8"))["form"] == 1
