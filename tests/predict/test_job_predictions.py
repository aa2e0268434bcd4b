"""Predictors in a job: named ones, baselines, and those that fail."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.example_jobs import failed, job, ok

from almaflow.analysis import analyse, outcome_metrics
from almaflow.analysis.standings import standings
from almaflow.config.composition import compose
from almaflow.errors import UsageError
from almaflow.predict import Given, Predictor, PredictorPool, Roofline
from almaflow.predict.configured import resolve_predictors
from almaflow.predict.job_predictions import JobPredictions
from almaflow.records import PastMeasurement, Prediction, PredictionRequest
from almaflow.report import cells
from almaflow.tracking.fingerprints import fingerprint
from almaflow.tracking.schema import check_metrics, tags


@dataclass
class Mine:
    """A predictor of the user's own."""

    latency_ms: float = 3.0
    name: str = "mine"
    version: str = "7"

    def predict(self, question: PredictionRequest) -> Prediction | None:
        if question.conversion.name == "ONNX_CPU":
            message = "not that one"
            raise RuntimeError(message)
        return Prediction(self.latency_ms, self.name, self.version, low_ms=2.0, high_ms=5.0)


class NoPredictor:
    """Has none of what a predictor has."""


def target(cls: type) -> str:
    return f"{cls.__module__}.{cls.__name__}"


def test_several_judge_one_job_and_the_first_has_the_headline() -> None:
    warned: list[str] = []
    made = job(ok("EAGER", 20.0), ok("ONNX_CPU", 10.0), failed("COMPILE_TVM"))
    past = PastMeasurement("other", "cpu", "ONNX_CPU", 1, 2, 5.0, 5.0, "f", "j0", "r0", 1.0, speedup_vs_eager=4.0)
    same = replace(past, model=made.model.name, fingerprint=fingerprint(made, made.outcomes[1].planned), latency_ms=9.0)
    mine = replace(same, latency_ms=1.0, job_id=made.job_id)  # what the job itself has stored
    predictors: tuple[Predictor, ...] = (Mine(), Given(22.0))
    predicting = JobPredictions(predictors, (mine, past, same), PredictorPool(warned.append))
    eager, onnx, tvm = predicting.outcomes(replace(made, outcomes=()), made.outcomes)
    assert {each.predictor: each.latency_ms for each in eager.predictions} == {"mine": 3.0, "given": 22.0}
    assert eager.prediction == eager.predictions[0]
    assert onnx.prediction is None
    assert {each.predictor: each.latency_ms for each in onnx.predictions} == {
        "given": 22.0,
        "last_measured": 9.0,
        "eager_ratio": pytest.approx(5.0),
    }
    assert tvm.prediction is None
    assert warned == ["predictor mine: RuntimeError: not that one; it is not asked again"]
    made = replace(made, outcomes=(eager, onnx, tvm))
    metrics = outcome_metrics(made, eager)
    check_metrics(metrics)
    assert metrics["prediction_error_pct"] == pytest.approx(-85.0)
    assert metrics["prediction/given/error_pct"] == pytest.approx(10.0)
    assert metrics["prediction/given/floor_error_pct"] > 10.0
    assert (metrics["prediction/mine/low_ms"], metrics["prediction/mine/high_ms"]) == (2.0, 5.0)
    assert "prediction/mine/error_pct" not in outcome_metrics(made, tvm)
    assert tags(made, eager)["almaflow.predictor_version.mine"] == "7"
    found = standings(outcome_metrics(made, outcome) for outcome in made.outcomes)
    assert [(each.predictor, each.count) for each in found] == [
        ("last_measured", 1),
        ("eager_ratio", 1),
        ("given", 2),
        ("mine", 1),
    ]
    assert [each.mean_abs_error_pct for each in found] == pytest.approx([10.0, 50.0, 65.0, 85.0])
    shown = cells.predictions(analyse(made))
    assert {line[0] for line in shown} == {"mine", "given", "last_measured", "eager_ratio"}


@dataclass
class Slow(Mine):
    """Computes for long, so that it must not be asked between measurements."""

    asked: int = 0

    def predict(self, question: PredictionRequest) -> Prediction | None:
        self.asked += 1
        return super().predict(question)


def test_what_is_named_is_asked_before_anything_is_measured() -> None:
    made, slow = job(ok("EAGER", 20.0)), Slow()
    predicting = JobPredictions((slow,), (), PredictorPool(pytest.fail))
    predicting.before(replace(made, outcomes=()), [outcome.planned for outcome in made.outcomes])
    (eager,) = predicting.outcomes(made, made.outcomes)
    assert (eager.prediction, slow.asked) == (Prediction(3.0, "mine", "7", low_ms=2.0, high_ms=5.0), 1)


class Wrong(Mine):
    """Is configured for something that is not there."""

    def predict(self, question: PredictionRequest) -> Prediction | None:
        message = f"mine knows no {question.hardware.name}"
        raise UsageError(message)


def test_a_predictor_that_cannot_be_used_ends_the_job_before_it_began() -> None:
    made = job(ok("EAGER", 20.0))
    with pytest.raises(UsageError, match="mine knows no "):
        JobPredictions((Wrong(),), (), PredictorPool(pytest.fail)).before(made, [made.outcomes[0].planned])
    warned: list[str] = []
    (eager,) = JobPredictions((Wrong(),), (), PredictorPool(warned.append)).outcomes(made, made.outcomes)
    assert eager.prediction is None
    assert warned[0].startswith("predictor mine: mine knows no ")


def test_a_predictor_that_was_asked_for_and_has_no_answer_is_named_once() -> None:
    warned: list[str] = []
    made = job(ok("EAGER", 20.0), ok("ONNX_CPU", 10.0))
    predicting = JobPredictions((Given(), Roofline()), (), PredictorPool(warned.append))
    assert all(each.prediction is None for each in predicting.outcomes(made, made.outcomes))
    assert [each.partition(";")[0] for each in warned] == [
        f"predictor roofline: no prediction of EAGER on {made.hardware.name}"
    ]


def test_baselines_alone_are_recorded_and_not_shown() -> None:
    made = job(ok("EAGER", 20.0))
    past = PastMeasurement(
        "simple", "cpu", "EAGER", 1, 2, 19.0, 19.0, fingerprint(made, made.outcomes[0].planned), "j0", "r", 1.0
    )
    (eager,) = JobPredictions((), (past,), PredictorPool(pytest.fail)).outcomes(made, made.outcomes)
    assert eager.prediction is None
    made = replace(made, outcomes=(eager,))
    assert outcome_metrics(made, eager)["prediction/last_measured/error_pct"] == pytest.approx(-5.0)
    assert cells.predictions(analyse(made)) == []


def test_predictors_by_name_and_by_target() -> None:
    def made(*overrides: str) -> list[tuple[str, str]]:
        return [(each.name, type(each).__name__) for each in resolve_predictors(compose(["model=simple", *overrides]))]

    assert made() == [("given", "Given")]
    assert made("predictor=roofline") == [("roofline", "Roofline")]
    assert made("predictor=[roofline,given]") == [("roofline", "Roofline"), ("given", "Given")]
    assert made("predictor=roofline", "predicted_latency_ms=5") == [("given", "Given"), ("roofline", "Roofline")]
    assert made(f"+predictor.mine._target_={target(Mine)}", "+predictor.mine.latency_ms=4") == [
        ("given", "Given"),
        ("mine", "Mine"),
    ]


def test_a_predictors_arguments_may_be_targets_themselves() -> None:
    overrides = (f"+predictor.mine._target_={target(Mine)}", f"+predictor.mine.latency_ms._target_={target(Mine)}")
    _, mine = resolve_predictors(compose(["model=simple", *overrides]))
    assert isinstance(mine, Mine)
    assert isinstance(mine.latency_ms, Mine)


def test_a_class_beside_the_command_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Path(__file__).read_text(encoding="utf-8").partition("@dataclass\nclass Mine")[2].partition("\n\n\n")[0]
    header = "from dataclasses import dataclass\nfrom almaflow.records import *\n@dataclass\nclass Mine"
    (tmp_path / "beside_the_command.py").write_text(header + source, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each not in {"", str(tmp_path)}])
    job_config = compose(["model=simple", "+predictor.mine._target_=beside_the_command.Mine"])
    assert [each.version for each in resolve_predictors(job_config)] == ["1", "7"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("predictor=rooflin", "predictor=rooflin: no such predictor; nearest: roofline"),
        ("+predictor.mine.latency_ms=4", "predictor.mine: needs a _target_"),
        (
            "+predictor.mine._target_=almaflow.nothing.Here",
            "predictor.mine: almaflow.nothing.Here cannot be made",
        ),
        (f"+predictor.mine._target_={target(NoPredictor)}", "is no predictor, which has name, version and predict"),
        ("+predictor.given.paht=x.csv", "unexpected keyword argument 'paht'"),
        ("predictor.given.path=none.csv", "predictor.given.path=none.csv: cannot be read"),
        (f"+predictor.mine={{_target_: {target(Mine)}, name: given}}", "two of them are called given"),
        (f"+predictor.mine={{_target_: {target(Mine)}, name: a/b}}", "its name is 'a/b'"),
    ],
)
def test_what_is_no_predictor_costs_no_time(override: str, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        resolve_predictors(compose(["model=simple", override]))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_version_that_is_a_number_is_kept_as_text() -> None:
    """As ``predictor.given.version=2`` gives it, and a class of the user's own."""

    @dataclass(frozen=True)
    class Numbered:
        name: str = "numbered"
        version: Any = 3

        def predict(self, _: PredictionRequest) -> Prediction:
            return Prediction(1.0, self.name, self.version)

    typed = compose(["model=simple", "predictor=given", "predictor.given.version=2", "predicted_latency_ms=1"])
    (given,) = resolve_predictors(typed)
    made = job(ok("EAGER", 20.0))
    predicting = JobPredictions((given, Numbered()), (), PredictorPool(pytest.fail))
    (eager,) = predicting.outcomes(made, made.outcomes)
    versions = {each.predictor: each.version for each in eager.predictions}
    assert (versions["given"], versions["numbered"]) == ("2", "3")
