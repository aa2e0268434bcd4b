"""``almaflow accuracy`` and ``almaflow rescore`` on a real store."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from tests.support.empty_stores import copy_empty_store
from tests.support.real_servers import mlflow_server
from tests.support.scored_runs import ENVIRONMENT, nights, run, stored

from almaflow.cli import almaflow
from almaflow.errors import UsageError
from almaflow.records import RecordedPrediction

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


@pytest.fixture(scope="module")
def nightly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to copy: sixteen nights, ONNX Runtime slower by 30% from the ninth on, and a baseline beside it."""
    database = tmp_path_factory.mktemp("nightly") / "mlflow.db"
    copy_empty_store(database)
    made = [
        replace(each, said=(RecordedPrediction("calibrated", "v1", 10.2), RecordedPrediction("roofline", "1", 6.0)))
        for each in nights(
            16, said=(RecordedPrediction("calibrated", "v1", 10.2), RecordedPrediction("roofline", "1", 6.0))
        )
    ]
    later = [
        replace(each, floor_ms=each.floor_ms * 1.3, environment=ENVIRONMENT | {"onnxruntime": "1.32.0"})
        for each in made[8:]
    ]
    stored(f"sqlite:///{database}", [*made[:8], *later])
    return database


@pytest.fixture
def stepped(uri: str, nightly: Path, tmp_path: Path) -> str:
    shutil.copy(nightly, tmp_path / "mlflow.db")
    return uri


def accuracy(*arguments: str) -> Result:
    return CliRunner().invoke(almaflow, ["accuracy", *arguments], standalone_mode=False)


def test_the_table_says_what_changed_and_why(stepped: str) -> None:
    del stepped
    done = accuracy()
    assert done.return_value == 0
    assert "1 series of 16 measurements; error in % of the floor" in done.output
    assert "env.onnxruntime 1.31.1 → 1.32.0" in done.output
    assert "too low" in done.output
    assert "roofline" not in done.output
    assert "roofline" in accuracy("--baselines").output
    assert "roofline" in accuracy("--predictor", "roof*").output


def test_machines_of_a_kind_are_pooled_or_shown_by_themselves(uri: str, tmp_path: Path) -> None:
    copy_empty_store(tmp_path / "mlflow.db")
    made = [
        replace(each, machine_id=machine_id, floor_ms=each.floor_ms * factor)
        for machine_id, factor in (("aaaaaa111111", 1.0), ("bbbbbb222222", 2.0))
        for each in nights(4)
    ]
    stored(uri, made)
    pooled = json.loads(accuracy("--json").stdout)["series"]
    assert [(each["hardware"], each["n"]) for each in pooled] == [("office", 8)]
    apart = json.loads(accuracy("--json", "--by", "machine", "--hardware", "off*").stdout)["series"]
    assert sorted((each["hardware"], each["n"]) for each in apart) == [("office aaaaaa", 4), ("office bbbbbb", 4)]
    with pytest.raises(UsageError, match="--by"):
        CliRunner().invoke(
            almaflow, ["accuracy", "--by", "machine", "--track"], standalone_mode=False, catch_exceptions=False
        )


def test_a_further_call_imports_neither_mlflow_nor_the_slow_part_of_scipy(stepped: str) -> None:
    del stepped
    first = accuracy("--json").stdout
    code = (
        "import sys\n"
        "from almaflow.cli import almaflow\n"
        "almaflow(['accuracy', '--json'], standalone_mode=False)\n"
        "print(*{'mlflow', 'scipy.stats', 'pandas', 'matplotlib'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (first, "\n")


def test_it_fails_by_an_error_above_the_limit_and_by_a_step(stepped: str) -> None:
    del stepped
    for arguments in (["--fail-above", "15"], ["--fail-on-regression"]):
        done = accuracy(*arguments)
        assert done.return_value == 3
        assert "resnet18 b1 ONNX_CPU on office by calibrated" in done.output
    assert "regression: " in accuracy("--fail-on-regression").output
    assert accuracy("--fail-above", "40").return_value == 0
    assert accuracy("--fail-on-regression", "--recent", "3").return_value == 0


def test_data_for_scripts(stepped: str) -> None:
    done = accuracy("--json", "--fail-on-regression")
    data = json.loads(done.stdout)
    assert (data["schema"], data["against"], data["stores"]) == (1, "floor", [stepped])
    (series,) = data["series"]
    assert (series["model"], series["predictor"], series["n"], series["verdict"]) == (
        "resnet18",
        "calibrated",
        16,
        "too low",
    )
    (change,) = series["changes"]
    assert change["cause"] == "version"
    assert change["environment"] == {"onnxruntime": ["1.31.1", "1.32.0"]}
    assert change["run_id"] == series["points"][8]["run_id"]
    (alert,) = data["alerts"]
    assert alert["kind"] == "regression"
    assert alert["runs"] == [change["run_id_before"], change["run_id"]]
    assert {each["predictor"] for each in data["rollups"]} == {"calibrated"}


def test_a_filter_does_not_change_the_cause(uri: str) -> None:
    """Eager is slower too, which tells of the machine, also where only ONNX Runtime is asked for."""
    made = [each if night < 8 else replace(each, floor_ms=each.floor_ms * 1.3) for night, each in enumerate(nights(16))]
    eager = [replace(each, conversion="EAGER", said=()) for each in made]
    stored(uri, [*made, *eager])
    for arguments in ([], ["--conversion", "ONNX*"]):
        (series,) = json.loads(accuracy("--json", *arguments).stdout)["series"]
        assert [change["cause"] for change in series["changes"]] == ["machine"]


def test_two_predictors_are_compared(stepped: str) -> None:
    del stepped
    assert "calibrated" in accuracy("--compare", "calibrated", "roofline").output
    data = json.loads(accuracy("--compare", "calibrated", "roofline", "--json").stdout)
    assert data["compared"]["series"] == 1
    assert data["compared"]["mean_abs_error_pct"][0] < data["compared"]["mean_abs_error_pct"][1]


def test_a_page_and_a_picture(stepped: str, tmp_path: Path) -> None:
    del stepped
    page, picture = tmp_path / "page.html", tmp_path / "picture.svg"
    assert accuracy("--html", str(page), "--plot", str(picture), "--baselines").return_value == 0
    text = page.read_text(encoding="utf-8")
    assert text.count("<svg") == 2 + 1 + 2  # heat maps, predicted against measured, two series
    assert "env.onnxruntime 1.31.1 → 1.32.0" in text
    assert "<svg" in picture.read_text(encoding="utf-8")


def test_the_store_gets_a_run_for_each_series(stepped: str) -> None:
    del stepped
    assert "1 of 1 series have new points" in accuracy("--track").output
    assert "0 of 1 series have new points" in accuracy("--track").output
    assert "0 of 1 series" in accuracy("--track", "--fresh").output  # those runs are no measurements


@pytest.mark.slow
def test_a_tracking_server_says_the_same(stepped: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(*arguments: str) -> dict[str, object]:
        told: dict[str, object] = json.loads(accuracy("--json", *arguments).stdout)
        del told["stores"]
        return told

    direct = said()
    with mlflow_server(tmp_path, stepped) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        assert said() == direct
        assert said() == direct  # from the cache
        assert "1 of 1 series have new points" in accuracy("--track").output
        assert "0 of 1 series have new points" in accuracy("--track", "--fresh").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "soon"], "--since soon: write a day"),
        (["--plot", "picture.doc"], "must end in .svg, .png or .pdf"),
        (["--track", "--since", "30d"], "--track keeps whole series"),
        (["--model", "vgg*"], "nothing was measured"),
        (["--predictor", "nobody"], "no measurement of .* was predicted by what is asked for"),
    ],
)
def test_what_cannot_be_asked_is_one_line(stepped: str, arguments: list[str], said: str) -> None:
    del stepped
    with pytest.raises(UsageError, match=said):
        raise accuracy(*arguments).exception or AssertionError


def test_baselines_alone_are_no_prediction(uri: str) -> None:
    stored(uri, [replace(run(), said=())])
    with pytest.raises(UsageError, match="almaflow run predictor=NAME"):
        raise accuracy().exception or AssertionError


def test_an_empty_store_says_what_to_do(uri: str) -> None:
    del uri
    with pytest.raises(UsageError, match="almaflow run predictor=NAME"):
        raise accuracy().exception or AssertionError


def rescore(*arguments: str) -> Result:
    return CliRunner().invoke(almaflow, ["rescore", *arguments], standalone_mode=False)


def test_a_rescoring_needs_a_predictor_and_measurements(uri: str) -> None:
    with pytest.raises(UsageError, match="almaflow rescore predictor=calibrated"):
        raise rescore().exception or AssertionError
    with pytest.raises(UsageError, match="no stored measurement matches"):
        raise rescore("predictor=roofline").exception or AssertionError
    stored(uri, [run()])
    done = rescore("predictor=roofline")  # a run whose job's files are not there
    assert "0 measurements judged; 1 whose job cannot be read" in done.output


@pytest.mark.slow
def test_a_real_job_is_judged_again(uri: str, tmp_path: Path) -> None:
    """By a file of predictions in two versions: each is kept once, beside the first, and the run stays as it is."""
    from almaflow.tracking.reader import conversion_runs

    ran = CliRunner().invoke(
        almaflow,
        ["run", "model=simple", "conversions=[EAGER]", "measure=quick", "predicted_latency_ms=1"],
        standalone_mode=False,
    )
    assert ran.exception is None, ran.output
    (before,) = conversion_runs(uri)
    table = tmp_path / "predictions.csv"
    for version, latency in (("one", 2), ("two", 3)):
        table.write_text(f"model,latency_ms\nsimple,{latency}\n", encoding="utf-8")
        asked = ["predictor=given", f"predictor.given.path={table}", f"predictor.given.version={version}"]
        assert "1 measurements judged" in rescore(*asked).output
        assert "0 measurements judged; 1 said of already" in rescore(*asked).output
    (after,) = conversion_runs(uri)
    assert after == before
    series = json.loads(accuracy("--json").stdout)["series"]
    assert {each["predictor"]: each["points"][0]["predicted_ms"] for each in series} == {
        "given": 1.0,
        "given@one": 2.0,
        "given@two": 3.0,
    }
