"""Nothing of a stored configuration runs on the machine of whoever reads it, unless he says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner
from tests.support.example_jobs import planned
from tests.support.scored_runs import run, stored

from almaflow.cli import almaflow
from almaflow.config.composition import compose
from almaflow.config.validation import plain, validate_stored
from almaflow.predict.graphs.predictor import Graphs
from almaflow.predict.stored_models import as_data, code_of
from almaflow.records import HardwareSpec, ModelSpec, PredictionRequest, TargetSpec
from almaflow.tracking.session import connect
from almaflow.tracking.store import prepare

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "tests.support.planted.leave_mark"


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec("a", arch="resnet18", kwargs={"num_classes": 10, "progress": False, "norm": None}),
        ModelSpec("a", target="almaflow.models.text.gpt2", kwargs={"n_layer": 2, "activation_function": "gelu_new"}),
        ModelSpec("a", target="almaflow.models.zoo.yolo", kwargs={"cfg": "yolov8n.yaml"}),
        ModelSpec("a", target="almaflow.models.zoo.timm", kwargs={"model_name": "resnet26", "out_indices": [1, 2]}),
    ],
)
def test_a_built_in_architecture_is_data(model: ModelSpec) -> None:
    assert code_of(model) == ()


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (ModelSpec("a", target=TARGET), (TARGET,)),
        (ModelSpec("a", target="almaflow.models.targets.call"), ("almaflow.models.targets.call",)),
        (ModelSpec("a", arch="resnet18", data_loader=TargetSpec("x.batches")), ("x.batches",)),
        (ModelSpec("a", pickle_path="/tmp/model.pkl"), ("/tmp/model.pkl",)),  # noqa: S108 - not opened
        (ModelSpec("a", arch="resnet18", kwargs={"weights": "DEFAULT"}), ("weights='DEFAULT' of resnet18",)),
        (ModelSpec("a", arch="resnet18", kwargs={"a": {"_target_": "x"}}), ("a={'_target_': 'x'} of resnet18",)),
        *(
            (ModelSpec("a", target="almaflow.models.zoo.timm", kwargs=kwargs), (f"{text} of almaflow.models.zoo.timm",))
            for kwargs, text in (
                ({"model_name": "hf-hub:a/b"}, "model_name='hf-hub:a/b'"),
                ({"checkpoint_path": "x.pth"}, "checkpoint_path='x.pth'"),
                ({"model_name": "../x"}, "model_name='../x'"),
            )
        ),
    ],
)
def test_anything_else_is_code_and_predictors_do_not_get_it(model: ModelSpec, code: tuple[str, ...]) -> None:
    assert code_of(model) == code
    given = as_data(model)
    assert (given.name, code_of(given)) == (model.name, ())
    assert {given.target, given.arch, given.pickle_path, given.data_loader} == {None}
    assert given.kwargs == {}


def test_nothing_of_a_stored_configuration_is_resolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THE_READER", "private")
    config = plain(compose(["model=gpt2"])) | {"output": "/no/such/directory/r.json"}
    config["model"] |= {"name": "${oc.env:OF_THE_READER}", "kwargs": {"a": "${oc.env:OF_THE_READER}"}}
    config["model"]["weights"] = "/etc/hostname"  # a file of the reader's
    read = validate_stored(config)
    assert (read.model.name, read.model.kwargs) == ("${oc.env:OF_THE_READER}", {"a": "${oc.env:OF_THE_READER}"})
    assert (read.output, read.model.weights) == (None, None)


def test_the_inputs_of_an_older_configuration_have_its_batch_dimension() -> None:
    config: dict[str, Any] = plain(compose(["model=simple"]))
    config["model"]["inputs"] = [{"shape": [3, 32, 32]}]
    assert [each.batch_dim for each in validate_stored(config).model.inputs or ()] == [0]


def test_graphs_has_no_answer_about_a_model_without_code() -> None:
    request = PredictionRequest(ModelSpec("a"), HardwareSpec("h100", "cuda", 1), planned("EAGER", "cuda"), 1)
    assert Graphs(ask=lambda *_: pytest.fail("a child was asked")).predict(request) is None


@pytest.mark.slow
def test_what_another_user_wrote_runs_only_with_a_flag_that_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mark, seen = tmp_path / "mark", tmp_path / "seen"
    config = plain(compose(["model=custom", f"model._target_={TARGET}", "model.inputs=[{shape: [3]}]"]))
    config["model"] |= {"name": "${oc.env:HOME}", "kwargs": {"path": str(mark)}}
    experiment = prepare(uri, "almaflow")
    client = connect(uri)
    jobs = [client.create_run(experiment).info.run_id for _ in range(2)]
    client.log_text(jobs[0], yaml.safe_dump(config), "config.yaml")
    client.log_text(jobs[1], yaml.safe_dump(plain(compose(["model=resnet18"]))), "config.yaml")
    stored(uri, [run(night, job_run_id=job) for night, job in enumerate(jobs)])

    def rescored(*flags: str) -> str:
        asked = [f"+predictor.own={{_target_: tests.support.planted.Builder, seen: {seen}}}", "~predictor.given"]
        done = CliRunner().invoke(almaflow, ["rescore", *asked, *flags], standalone_mode=False)
        assert done.exception is None, done.output
        return " ".join(done.output.split())

    said = rescored()
    assert not mark.exists()
    assert (
        "builder: 1 measurements judged; 1 without an answer about a model whose code was not run (--run-code)" in said
    )
    assert seen.read_text(encoding="utf-8") == "${oc.env:HOME} None\nresnet18 resnet18\n"
    said = rescored("--run-code")
    assert mark.exists()
    assert f"may run what the store names: {TARGET}" in said
    assert "builder: 1 measurements judged; 1 said of already" in said
