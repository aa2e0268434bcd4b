"""Limits by metric: names with slashes in overrides, in files and from Python."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.analysis.metric_names import KNOWN
from almaflow.config.composition import compose
from almaflow.config.overrides import as_hydra_reads, choose_settings, expand, override
from almaflow.config.validation import plain, validate_stored
from almaflow.errors import UsageError


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("choose.max.latency/p99=20", "choose.max.latency.p99=20"),
        ("+choose.min.quality/top1=0.75", "+choose.min.quality.top1=0.75"),
        ("++choose.max.latency_ms=5,10", "++choose.max.latency_ms=5,10"),
        ("~choose.max.latency/p99", "~choose.max.latency.p99"),
        # Values keep their slashes, and so do other keys.
        ("choose.by=latency/p99", "choose.by=latency/p99"),
        ("output=a/choose.max.b", "output=a/choose.max.b"),
        ("model.weights=choose.max.a/b=c", "model.weights=choose.max.a/b=c"),
    ],
)
def test_a_metric_is_a_path_of_keys_for_hydra(given: str, read: str) -> None:
    assert as_hydra_reads([given]) == [read]


def test_limits_are_kept_by_the_names_of_their_metrics() -> None:
    limits = ("latency/p99=20", "latency/floor=18.5", "memory/model_mb=300", "latency_ms=15")
    least = ("fidelity/sqnr_db=40", "quality/top1=0.75", "prediction/calibrated/error_pct=-5")
    job = compose(
        [
            *(f"choose.max.{each}" for each in limits),
            *(f"choose.min.{each}" for each in least),
            "choose.by=throughput",
            "evaluate._target_=made.up",
        ]
    )
    assert job.choose.max == {"latency/p99": 20, "latency/floor": 18.5, "memory/model_mb": 300, "latency_ms": 15}
    assert job.choose.min == {"fidelity/sqnr_db": 40, "quality/top1": 0.75, "prediction/calibrated/error_pct": -5}
    assert job.choose.by == "throughput"
    assert validate_stored(plain(job)).choose == job.choose
    assert compose([]).choose.by == "latency_ms"
    assert compose(["choose.max.latency/p99=20", "~choose.max.latency/p99"]).choose.max == {}


def test_the_config_of_an_earlier_evaluation_can_be_read() -> None:
    kept = plain(compose(["evaluate._target_=made.up"]))
    kept["evaluate"] = {"_target_": "made.up", "kwargs": {}, "samples": None, "max_drop": None, "lower_is_better": []}
    assert validate_stored(kept) == compose(["evaluate._target_=made.up"])
    kept["evaluate"] = {"_target_": None, "kwargs": {}, "samples": None, "max_drop": None, "lower_is_better": []}
    assert validate_stored(kept) == compose([])


def test_a_figure_with_dots_in_its_name_can_be_chosen_by() -> None:
    given = ["choose.min.quality/f1.macro=0.5", "choose.max.prediction/v1.2/error_pct=9", "choose.by=quality/f1.macro"]
    job = compose([*given, "evaluate._target_=made.up"])
    assert job.choose.min == {"quality/f1.macro": 0.5}
    assert job.choose.max == {"prediction/v1.2/error_pct": 9}
    assert validate_stored(plain(job)).choose == job.choose


def test_a_figure_that_the_evaluation_does_not_give_is_told_before_anything_runs() -> None:
    for limit in ("choose.min.quality/top2=0.5", "choose.by=quality/top2", "choose.max.quality/top2_drop=0.1"):
        with pytest.raises(UsageError, match=r"^choose: quality/top2(_drop)?: the figures of the evaluation are top1$"):
            compose([limit, "evaluate=top1"])
    for limit in (
        "choose.min.quality/top1=0.5",
        "choose.max.quality/top1_drop_high=0.1",
        "choose.min.quality/samples=9",
    ):
        compose([limit, "evaluate=top1"])


def test_a_sweep_over_limits_makes_a_job_of_each() -> None:
    jobs = expand(["choose.max.latency/p99=10,20", "choose.min.fidelity/sqnr_db=choice(20,40)"])
    found = [compose(each).choose for each in jobs]
    assert [(each.max, each.min) for each in found] == [
        ({"latency/p99": most}, {"fidelity/sqnr_db": least}) for most in (10, 20) for least in (20, 40)
    ]


SIZED = ("model.dynamic=[batch]", "batch_size=2", "model.sizes=[1,2,8]")


def test_a_metric_at_a_size_has_the_size_in_its_name() -> None:
    job = compose([*SIZED, "choose.max.size/8/latency_ms=3", "choose.by=size/1/throughput"])
    assert job.choose.max == {"size/8/latency_ms": 3}
    assert validate_stored(plain(job)).choose == job.choose
    nested = choose_settings({"max": {"size/8/latency_ms": 3}})
    assert compose([*SIZED, *(override(*each) for each in nested.items())]).choose.max == {"size/8/latency_ms": 3}


@pytest.mark.parametrize(("given", "line"), [
    (["choose.max.size/8/latency_ms=3"],
     "choose: size/8/latency_ms is not measured; add model.dynamic=[batch] model.sizes=[1,8]"),
    ([*SIZED, "choose.min.size/4/sqnr_db=3"], "choose: size/4/sqnr_db is not measured; model.sizes has 1, 8"),
    (["choose.by=batch_search/throughput"],
     "choose: batch_search/throughput is found by a search only; add model.dynamic=[batch] model.sizes=search"),
    ([*SIZED, "choose.by=size/2/latency_ms"], "choose: size/2/latency_ms is not measured; model.sizes has 1, 8"),
])  # fmt: skip
def test_a_size_at_which_nothing_is_measured_is_told_before_anything_runs(given: list[str], line: str) -> None:
    with pytest.raises(UsageError) as raised:
        compose(given)
    assert str(raised.value) == line


@given(st.sampled_from(KNOWN), st.floats(-1e9, 1e9))
def test_every_metric_can_have_a_limit(name: str, limit: float) -> None:
    (read,) = as_hydra_reads([override(f"choose.max.{name}", limit)])
    assert expand([read]) == [[read]]  # of Hydra's grammar


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("choose.max.latency/p98=20", "choose.max.latency/p98: no such metric; nearest: latency/p9"),
        ("choose.min.top1=0.5", "choose.min.top1: no such metric"),
        ("choose.by=latncy_ms", "choose.by=latncy_ms: no such metric; nearest: latency_ms"),
        ("choose.max.latency/p99=fast", "choose.max.latency/p99=fast: must be a finite number"),
        ("choose.max.latency/p99=nan", "choose.max.latency/p99=nan: must be a finite number"),
        ("choose.max.latency/p99=true", "choose.max.latency/p99=True: must be a finite number"),
        ("choose.maximum.latency_ms=3", "choose.maximum"),
        ("choose.max=3", "choose.max=3: "),
        (
            "choose.min.quality/top1=0.7",
            "choose: quality/top1 is measured by an evaluation only, such as evaluate=top1",
        ),
    ],
)
def test_a_wrong_limit_is_one_line(given: str, line: str) -> None:
    with pytest.raises(UsageError) as raised:
        compose([given])
    assert str(raised.value).startswith(line)
    assert "\n" not in str(raised.value)


def test_limits_that_nothing_can_keep_to_are_refused() -> None:
    with pytest.raises(UsageError, match=r"^choose.min.latency_ms=9: must be no more than choose.max.latency_ms=5$"):
        compose(["choose.max.latency_ms=5", "choose.min.latency_ms=9"])


def test_from_python_they_are_a_mapping() -> None:
    settings = choose_settings({"max": {"latency/p99": 20}, "min": {"quality/top1": 0.7}, "by": "memory/model_mb"})
    job = compose([*(override(key, value) for key, value in settings.items()), "evaluate._target_=made.up"])
    assert (job.choose.max, job.choose.min, job.choose.by) == (
        {"latency/p99": 20},
        {"quality/top1": 0.7},
        "memory/model_mb",
    )
    for key in ("most", "max"):
        with pytest.raises(UsageError, match="none of max and min"):
            choose_settings({key: 3})
