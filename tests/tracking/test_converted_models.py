"""Converted models as an MLflow client finds them: linked to their runs, with their figures, registered."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from tests.support.example_jobs import changed, ok
from tests.support.made_exports import made_export
from tests.support.stored_jobs import new, stored

from almaflow.conversions.exports import check
from almaflow.errors import TrackingError, UsageError
from almaflow.tracking import artifacts, converted_models
from almaflow.tracking.converted_models import (
    ModelFiles,
    check_registration,
    discard_models_of,
    log_model,
    register_model,
)
from almaflow.tracking.exported import log_export
from almaflow.tracking.replay import Result, catch_up
from almaflow.tracking.session import connect
from almaflow.tracking.uris import resolve_uri

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

X = np.ones((1, 2), np.float32)


@pytest.fixture
def model(stored_home: Path) -> ModelFiles:
    """One whose run is in the store."""
    made = stored("j", changed(ok("ONNX_CPU", 10.0), export_mb=0.001), made=replace(new("j"), config={}))
    folder = stored_home / "folder"
    export = made_export(folder, "2 * args[0]", {"x": X}, {"": X}, builder="a.Net")
    (folder / "check.py").write_text("def _flat(output): ...\n", encoding="utf-8")  # as older versions wrote it
    return ModelFiles(str(made.outcomes[0].run_id), folder, export, "# mine\n", Path(str(check.__file__)))


def client() -> Any:
    return connect(resolve_uri(None))


def logged_models(run_id: str) -> list[LoggedModel]:
    experiments = [each.experiment_id for each in client().search_experiments()]
    return list(client().search_logged_models(experiments, f"source_run_id = '{run_id}'"))


def figures(model: ModelFiles) -> dict[str, list[float]]:
    """The values of each figure of the logged model, in the order of their times."""
    (logged,) = logged_models(model.run_id)
    found: dict[str, list[float]] = {}
    for each in sorted(logged.metrics or (), key=lambda each: each.timestamp):
        found.setdefault(each.key, []).append(each.value)
    return found


def files_of(model: LoggedModel) -> set[str]:
    return {path.name for path in Path(urlsplit(model.artifact_location).path).rglob("*")}


def test_a_logged_model_has_the_figures_and_the_link_and_is_logged_once(model: ModelFiles) -> None:
    uri = resolve_uri(None)
    before = client().get_run(model.run_id).data.metrics
    model_id = log_model(uri, model)
    assert log_model(uri, model) == model_id
    (found,) = logged_models(model.run_id)
    assert (found.model_id, found.status, found.name) == (model_id, "READY", "ONNX_CPU resnet18 b2")
    assert found.params["conversion"] == "ONNX_CPU"
    assert found.tags == {"almaflow.format": "openvino", "almaflow.job_id": "j", "almaflow.builder": "a.Net"}
    assert {each.key: each.value for each in found.metrics or ()} == before
    assert before["latency/floor"] > 0
    run = client().get_run(model.run_id)
    assert run.data.metrics == before
    assert len(client().get_metric_history(model.run_id, "latency_ms")) == 1
    assert [each.model_id for each in run.outputs.model_outputs] == [model_id]
    assert files_of(found) >= {"MLmodel", "README.md", "load.py", "model.bin", "pyfunc_model.py", "export.json"}
    (written,) = Path(urlsplit(found.artifact_location).path).glob("check.py")
    assert written.read_text(encoding="utf-8") == Path(str(check.__file__)).read_text(encoding="utf-8")
    # A figure that comes later is on the model too.
    log_export(uri, model.run_id, {"export/load_s": 0.5})
    log_model(uri, model)
    assert figures(model)["export/load_s"] == [0.5]
    history = client().get_metric_history(model.run_id, "export/load_s")
    time.sleep(0.002)  # MLflow's times are in milliseconds
    log_export(uri, model.run_id, {"export/load_s": 0.6})
    log_model(uri, model)
    log_model(uri, model)
    assert figures(model) == {name: [value] for name, value in before.items()} | {"export/load_s": [0.5, 0.6]}
    assert client().get_metric_history(model.run_id, "export/load_s")[:-1] == history
    assert {len(client().get_metric_history(model.run_id, name)) for name in before} == {1}


def test_half_a_model_is_removed(model: ModelFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, made = artifacts.copy_to_model, []
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    errors: list[BaseException] = [full, KeyboardInterrupt()]

    def copy_half(client: Any, logged: LoggedModel, directory: Path) -> None:
        made.append(logged)
        copy(client, logged, directory)
        raise errors[len(made) - 1]

    monkeypatch.setattr(converted_models, "copy_to_model", copy_half)
    line = r"^ONNX_CPU could not be logged as a model in the MLflow store .*No space left on device[^\n]*$"
    with pytest.raises(TrackingError, match=line):
        log_model(resolve_uri(None), model)
    with pytest.raises(KeyboardInterrupt):
        log_model(resolve_uri(None), model)
    assert logged_models(model.run_id) == []
    assert [files_of(each) for each in made] == [set(), set()]


def test_what_a_killed_process_left_is_replaced(model: ModelFiles) -> None:
    experiment = client().get_run(model.run_id).info.experiment_id
    half = client().create_logged_model(experiment, source_run_id=model.run_id, tags={"almaflow.format": "openvino"})
    others = client().create_logged_model(experiment, source_run_id=model.run_id)
    model_id = log_model(resolve_uri(None), model)
    assert {each.model_id for each in logged_models(model.run_id)} == {model_id, others.model_id}
    assert half.model_id != model_id
    # A run that was deleted gets none.
    client().delete_run(model.run_id)
    assert log_model(resolve_uri(None), model) is None


def test_a_version_has_an_alias_and_is_made_once(model: ModelFiles) -> None:
    uri = resolve_uri(None)
    model_id = str(log_model(uri, model))
    assert register_model(uri, model_id, "it's mine", None) == "1"
    assert register_model(uri, model_id, "it's mine", "champion") == "1"
    version = client().get_model_version_by_alias("it's mine", "champion")
    assert (str(version.version), version.run_id) == ("1", model.run_id)
    assert version.source == client().get_logged_model(model_id).artifact_location
    assert version.tags["almaflow.format"] == "openvino"
    assert register_model(uri, model_id, "another", None) == "1"
    (found,) = logged_models(model.run_id)
    assert '"another"' in found.tags["mlflow.modelVersions"]
    assert '"it\'s mine"' in found.tags["mlflow.modelVersions"]


def test_a_run_that_is_measured_again_takes_its_models_along_unless_they_are_registered(model: ModelFiles) -> None:
    uri = resolve_uri(None)
    first = client().get_logged_model(log_model(uri, model))
    again = replace(new("j"), config={}, ended_at=900.0)
    catch_up(uri, again, [Result(replace(ok("ONNX_CPU", 9.0), started_at=800.0, ended_at=801.0), {}, model.folder)])
    assert client().get_run(model.run_id).info.lifecycle_stage == "deleted"
    assert logged_models(model.run_id) == []
    assert files_of(first) == set()


def test_a_registered_model_stays_where_its_run_is_measured_again(model: ModelFiles) -> None:
    uri = resolve_uri(None)
    model_id = str(log_model(uri, model))
    register_model(uri, model_id, "mine", None)
    discard_models_of(client(), client().get_run(model.run_id))
    (found,) = logged_models(model.run_id)
    assert "MLmodel" in files_of(found)


def test_names_that_the_registry_refuses_are_told_before_anything_is_written(
    model: ModelFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = resolve_uri(None)
    check_registration(uri, "a new one", "champion", model.run_id)
    for name in ("", "a/b", "a:b", "a@b"):
        with pytest.raises(UsageError, match=f"^--register {name}: "):
            check_registration(uri, name, None, model.run_id)
    for alias in ("", "v1", "V12", "Latest", "a b", "a" * 256):
        with pytest.raises(UsageError, match=f"^--alias {alias}: MLflow takes letters"):
            check_registration(uri, "mine", alias, model.run_id)
    # A server made the experiment, and the database is named here.
    served = SimpleNamespace(info=SimpleNamespace(artifact_uri="mlflow-artifacts:/1/r/artifacts"))
    monkeypatch.setattr("mlflow.MlflowClient.get_run", lambda *_: served)
    with pytest.raises(UsageError, match=r"^--register mine: .* by --uri http://HOST:PORT in place of sqlite:[^\n]*$"):
        check_registration(uri, "mine", None, model.run_id)


def test_a_registry_that_is_down_is_one_line() -> None:
    with pytest.raises(TrackingError, match=r"^mine cannot be registered in the MLflow store http://127[^\n]*$"):
        check_registration("http://127.0.0.1:9", "mine", None, "r1")
