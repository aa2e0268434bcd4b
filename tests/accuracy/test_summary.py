"""Series, causes, verdicts and alerts from made measurements."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.scored_runs import ENVIRONMENT, nights, run

from almaflow.accuracy.alerts import alerts
from almaflow.accuracy.series import Series, Verdict
from almaflow.accuracy.summary import Against, compared, rollups, series_of
from almaflow.records import RecordedPrediction, ScoredRun

HALF = 8


def one(runs: list[ScoredRun]) -> Series:
    """The series of ``calibrated`` on ONNX Runtime."""
    (found,) = [each for each in series_of(runs) if each.key.conversion == "ONNX_CPU"]
    return found


def later(runs: list[ScoredRun], **changes: object) -> list[ScoredRun]:
    """The second half with other values."""
    return [replace(each, **changes) if index >= HALF else each for index, each in enumerate(runs)]  # type: ignore[arg-type]


def slower(runs: list[ScoredRun], factor: float, since: int = HALF) -> list[ScoredRun]:
    return [
        replace(each, floor_ms=each.floor_ms * factor, latency_ms=each.latency_ms * factor) if index >= since else each
        for index, each in enumerate(runs)
    ]


def test_points_are_errors_against_the_figure_that_is_asked_for() -> None:
    (floor,) = series_of([run(floor_ms=10, predicted_ms=12)])
    (median,) = series_of([run(floor_ms=10, predicted_ms=12)], Against.MEDIAN)
    assert floor.points[0].error == pytest.approx(20)
    assert median.points[0].error == pytest.approx(100 * (12 / 10.5 - 1))
    assert floor.points[0].bounds is not None
    assert floor.points[0].bounds.low < 20 < floor.points[0].bounds.high


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "resnet50"},
        {"hardware": "lab"},
        {"machine": "Another CPU"},
        {"conversion": "OPENVINO"},
        {"batch_size": 8},
        {"dtype": "int8"},
        {"threads": "1"},
        {"input_shape": "1x3x96x96"},
        {"calls": "streams=4"},
        {"device": "cuda"},
        {"said": (RecordedPrediction("roofline", "1", 9.0),)},
    ],
    ids=str,
)
def test_what_may_not_be_compared_is_another_series(changes: dict[str, object]) -> None:
    assert len(series_of([run(0), run(1, **changes)])) == 2  # type: ignore[arg-type]


def test_versions_and_experiments_are_one_series_in_the_order_of_time() -> None:
    runs = [
        run(1, environment={"torch": "3"}),
        run(0, experiment="other"),
        run(2, said=(RecordedPrediction("calibrated", "v2", 11.0),)),
    ]
    (found,) = series_of(runs)
    assert [point.run.run_id for point in found.points] == ["0000-ONNX_CPU", "0001-ONNX_CPU", "0002-ONNX_CPU"]


def test_a_version_of_the_runtime_is_named() -> None:
    runs = later(slower(nights(16), 1.2), environment=ENVIRONMENT | {"onnxruntime": "1.32.0", "git_commit": "bbbb"})
    found = one(runs)
    (change,) = found.changes
    assert change.at == HALF
    assert change.cause.kind == "version"
    assert "env.onnxruntime 1.31.1 → 1.32.0" in change.cause.why
    assert "git" not in change.cause.why
    assert change.cause.environment["git_commit"] == ("aaaa", "bbbb")
    assert change.cause.measured_pct == pytest.approx(20, abs=3)
    assert change.before_pct == pytest.approx(10, abs=2)
    assert not change.worse  # 10% too high before, 8% too low behind it
    assert found.now.count == HALF


def test_a_slow_machine_is_told_by_the_control() -> None:
    runs = later(slower(nights(16), 1.3), control_ms=1.2)
    (change,) = one(runs).changes
    assert change.cause.kind == "machine"
    assert change.worse
    assert change.cause.control_pct == pytest.approx(100 / 3)


def test_others_on_the_processors_are_told_though_the_control_is_steady() -> None:
    """Eager itself beside busy processes: nothing else is there to hold it against."""
    made = [replace(each, conversion="EAGER", others_cpus=0.03) for each in slower(nights(16), 2.0)]
    (busy,) = series_of(later(made, others_cpus=1.2))
    (change,) = busy.changes
    assert change.cause.kind == "machine"
    assert "others took 1.2 processors of the machine, 0.0 before" in change.cause.why
    assert change.cause.others_cpus == (0.03, 1.2)
    (idle,) = series_of(later(made, others_cpus=0.1))
    assert [each.cause.kind for each in idle.changes] == ["unknown"]


def test_a_machine_that_only_eager_shows() -> None:
    """The control is steady, no version changed, and eager is slower too."""
    eager = [
        replace(each, conversion="EAGER", run_id=f"{each.run_id}-eager", said=())
        for each in slower(nights(16, seed=2), 1.3)
    ]
    (change,) = one([*slower(nights(16), 1.3), *eager]).changes
    assert change.cause.kind == "machine"
    assert "eager moved too" in change.cause.why


def test_a_measurement_that_moved_for_no_known_reason() -> None:
    eager = [replace(each, conversion="EAGER", run_id=f"{each.run_id}-eager", said=()) for each in nights(16, seed=2)]
    (change,) = one([*slower(nights(16), 1.3), *eager]).changes
    assert change.cause.kind == "unknown"
    assert "no env tag changed" in change.cause.why


def with_a_stray(runs: list[ScoredRun], at: int, night: int = 39) -> list[ScoredRun]:
    """One night is measured as those before the step were."""
    return [replace(each, environment=runs[at - 1].environment, floor_ms=10.0) if index == night else each
            for index, each in enumerate(runs)]  # fmt: skip


@pytest.mark.parametrize("night", [39, 30])
def test_a_cause_survives_one_night_with_the_old_version(night: int) -> None:
    runs = [
        replace(each, environment=ENVIRONMENT | {"onnxruntime": "1.32.0"}) if index >= 25 else each
        for index, each in enumerate(slower(nights(40), 1.3, since=25))
    ]
    (change,) = one(with_a_stray(runs, 25, night)).changes
    assert change.at == 25
    assert change.cause.kind == "version"
    assert "env.onnxruntime 1.31.1 → 1.32.0" in change.cause.why
    assert change.cause.environment == {"onnxruntime": ("1.31.1", "1.32.0")}


def test_the_old_predictor_for_one_night_does_not_hide_the_new_one() -> None:
    told = [RecordedPrediction("calibrated", "v2" if 25 <= night < 39 else "v1", 13.0 if 25 <= night < 39 else 10.0)
            for night in range(40)]  # fmt: skip
    (change,) = one([replace(each, said=(say,)) for each, say in zip(nights(40), told, strict=True)]).changes
    assert change.cause.kind == "prediction"
    assert "(v1 → v2)" in change.cause.why


def test_a_version_that_comes_and_goes_is_no_cause() -> None:
    """Every other night behind the step has the old one."""
    runs = [
        replace(each, environment=ENVIRONMENT | {"onnxruntime": "1.32.0"}) if index >= 8 and index % 2 else each
        for index, each in enumerate(slower(nights(16), 1.3))
    ]
    (change,) = one(runs).changes
    assert change.cause.kind == "unknown"


def test_a_new_version_of_the_predictor_is_named() -> None:
    (change,) = one(later(nights(16), said=(RecordedPrediction("calibrated", "v2", 10.1),))).changes
    assert change.cause.kind == "prediction"
    assert "v1 → v2" in change.cause.why
    assert not change.worse
    assert change.cause.measured_pct == pytest.approx(0, abs=1.5)


def test_both_moved() -> None:
    (change,) = one(
        later(slower(nights(16), 1.3), control_ms=1.2, said=(RecordedPrediction("calibrated", "v2", 9.0),))
    ).changes
    assert change.cause.kind == "prediction+machine"


@pytest.mark.parametrize(
    ("predicted", "verdict"),
    [(10.0, Verdict.NEAR), (10.8, Verdict.NEAR), (14.0, Verdict.HIGH), (7.0, Verdict.LOW)],
)
def test_verdicts(predicted: float, verdict: Verdict) -> None:
    assert one(nights(10, 0.003, said=(RecordedPrediction("calibrated", "v1", predicted),))).verdict is verdict


@pytest.mark.parametrize(("predicted", "verdict"), [(13.0, Verdict.HIGH), (7.8, Verdict.LOW)])
def test_a_predictor_s_own_wide_interval_does_not_excuse_an_error_that_is_sure(
    predicted: float, verdict: Verdict
) -> None:
    """All points lie inside of what the predictor stated, and all of them on one side: both are told."""
    found = one(nights(12, said=(RecordedPrediction("calibrated", "v1", predicted, 6.0, 16.0),)))
    assert found.verdict is verdict
    assert found.inside == 1.0


def test_errors_on_both_sides_are_scattered_or_within_what_the_predictor_stated() -> None:
    runs = [run(night, floor_ms=10 if night % 2 else 15, predicted_ms=12.3) for night in range(10)]
    assert one(runs).verdict is Verdict.SCATTERED
    assert one(runs).inside == 0.0
    stated = (RecordedPrediction("calibrated", "v1", 12.3, 9.0, 16.0),)
    assert one([replace(each, said=stated) for each in runs]).verdict is Verdict.NOISE


def test_without_any_interval_nobody_knows_what_lies_inside() -> None:
    bare = [replace(each, low_ms=None, high_ms=None) for each in nights(5)]
    assert one(bare).inside is None


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_points_are_too_few(count: int) -> None:
    found = one(nights(count))
    assert found.verdict == "too few points"
    assert found.now.signed.interval is None


def test_a_trend_of_many_nights() -> None:
    drifting = [run(night, floor_ms=10, predicted_ms=10 + 0.02 * night) for night in range(60)]
    found = series_of(drifting)[0].trend
    assert found is not None
    assert found.value == pytest.approx(6, abs=0.1)  # 0.2% a day


def test_minutes_have_no_trend_of_a_month() -> None:
    drifting = [replace(run(0, floor_ms=10, predicted_ms=10 + 0.02 * count), at=60.0 * count) for count in range(20)]
    assert series_of(drifting)[0].trend is None


def test_rollups_count_each_series_once() -> None:
    runs = [*(run(night, 10, 12) for night in range(9)), run(0, 10, 11, model="vgg11")]
    ((key, (count, summary)),) = rollups(series_of(runs), "conversion").items()
    assert key == ("calibrated", "ONNX_CPU")
    assert (count, summary.count) == (2, 10)
    assert summary.mean_abs.value == pytest.approx(15)
    assert {each.interval for each in (summary.signed, summary.mean_abs, summary.within)} == {None}  # of two series
    assert list(rollups(series_of(runs), "family")) == [("calibrated", "resnet"), ("calibrated", "vgg")]


def test_two_predictors_on_the_same_measurements() -> None:
    runs = [
        run(
            0,
            10,
            model=f"model{number}",
            said=(RecordedPrediction("one", "1", 10.5), *(RecordedPrediction("other", "1", 12.0),) * (number < 7)),
        )
        for number in range(9)
    ]
    found = compared(series_of(runs), "one", "other")
    assert found is not None
    assert found.pairs == 7
    assert [found.first, found.second] == pytest.approx([5, 20])
    assert found.p_value == pytest.approx(2 / 2**7)
    assert compared(series_of(runs), "one", "nobody") is None


def kinds(runs: list[ScoredRun], **asked: object) -> list[tuple[str, bool]]:
    return [(each.kind, each.fails) for each in alerts(series_of(runs), **asked)]  # type: ignore[arg-type]


def test_alerts_above_a_limit() -> None:
    assert kinds(nights(5, predicted_ms=13.0), above_pct=20) == [("above", True)]
    assert kinds(nights(5, predicted_ms=13.0), above_pct=40) == []
    (alert,) = alerts(series_of(nights(5, predicted_ms=13.0)), 20)
    assert "resnet18 b1 ONNX_CPU on office by calibrated: 29.8% off over 5 runs" in alert.message
    assert len(alert.runs) == 5


def test_one_point_alerts_only_beyond_its_own_interval() -> None:
    assert kinds([run(predicted_ms=13.0)], above_pct=25) == [("above", True)]
    assert kinds([run(predicted_ms=13.0)], above_pct=29.5) == []  # 29.5 is inside of what the measurement leaves


def test_alerts_of_regressions_while_they_are_news() -> None:
    runs = slower(nights(16, predicted_ms=10.0), 1.3)
    assert kinds(runs, regressions=True) == [("regression", True)]
    assert kinds(runs, regressions=True, recent=7) == []
    assert kinds(runs) == []
    (alert,) = alerts(series_of(runs), regressions=True)
    assert alert.runs == ("0007-ONNX_CPU", "0008-ONNX_CPU")
    assert "moved by +30" in alert.message


def test_an_improvement_is_told_and_does_not_fail() -> None:
    runs = later(nights(16, predicted_ms=13.0), said=(RecordedPrediction("calibrated", "v2", 10.0),))
    assert kinds(runs, regressions=True) == [("improvement", False)]
    assert kinds(runs, above_pct=20) == [("improvement", False)]
    assert kinds(runs, above_pct=50) == []


def test_versions_of_a_model_have_series_of_their_own() -> None:
    """The second is ten times slower than the first, which is no error of the predictor that knew the first."""
    edited = [replace(each, model_digest="22222222") for each in slower(nights(4), 10, since=0)]
    found = series_of([*(replace(each, model_digest="11111111") for each in nights(4)), *edited, *nights(2)])
    assert {str(each.key).partition(" ")[0]: len(each.points) for each in found} == {
        "resnet18": 2,
        "resnet18@11111111": 4,
        "resnet18@22222222": 4,
    }
    assert not any(each.changes for each in found)
