"""The best conversion under limits, against a search that is written apart from it."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.example_jobs import GOOD, changed, failed, in_rounds, job, ok

from almaflow.analysis import analyse, to_output
from almaflow.analysis.choose import apart, candidates_of, choose, fallen_in
from almaflow.analysis.metric_names import KNOWN, is_metric, lower_is_better_in, more_is_better, unknown_metric
from almaflow.analysis.output import completed
from almaflow.analysis.pareto import front
from almaflow.records import Choosing, EvaluateSpec, FailureKind, QualityDrop
from almaflow.records.quality import is_error
from almaflow.report.choice import chosen

STORED = Path(__file__).with_name("tier3_job.json")
"""What a job of tier 3 on resnet18 measured: each conversion's ending, and those metrics that people set limits to."""
LARGER = {"throughput", "speedup_vs_eager", "fidelity/sqnr_db", "fidelity/cosine", "quality/top1"}
NAMES = ("latency_ms", "latency/floor", "latency/p99", "memory/model_mb", "memory/peak_rss_mb", "time/convert", *LARGER)

Entries = list[dict[str, Any]]


def by_brute_force(entries: Entries, asked: Choosing) -> tuple[str | None, set[str]]:
    """The best that fits, and all that fit, by looking at one after the other."""
    best, fitting = None, set()
    for entry in entries:
        if entry["status"] != "ok" or entry["failure"] or entry["latency_ms"] is None:
            continue
        figures = dict(entry)
        if figures.get("fidelity/max_abs_diff") == 0 and figures.get("fidelity/sqnr_db") is None:
            figures["fidelity/sqnr_db"] = 200.0
        above = [name for name, limit in asked.max.items() if figures.get(name) is None or figures[name] > limit]
        below = [name for name, limit in asked.min.items() if figures.get(name) is None or figures[name] < limit]
        if above or below or figures.get(asked.by) is None:
            continue
        fitting.add(entry["conversion"])
        if best is None or _goes_before(figures, best, asked.by):
            best = figures
    return best["conversion"] if best else None, fitting


def _goes_before(one: dict[str, Any], other: dict[str, Any], by: str) -> bool:
    if one[by] == other[by]:
        return bool(one["latency_ms"] < other["latency_ms"])
    return bool(one[by] > other[by] if by in LARGER else one[by] < other[by])


small = st.none() | st.integers(0, 4).map(float)
entries_of_any_job = st.lists(
    st.fixed_dictionaries(
        {
            "status": st.sampled_from(["ok", "ok", "ok", "failed", "unavailable"]),
            "latency_ms": st.integers(1, 6).map(float),
            "fidelity/max_abs_diff": st.sampled_from([0.0, 1.0, None]),
        },
        optional={name: small for name in NAMES if name != "latency_ms"},
    ),
    max_size=8,
)
limits = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 4).map(float), max_size=3)


@given(entries_of_any_job, limits, limits, st.sampled_from(NAMES))
def test_it_finds_what_a_search_one_by_one_finds(
    made: Entries, most: dict[str, float], least: dict[str, float], by: str
) -> None:
    for number, each in enumerate(made):
        each |= {"conversion": f"C{number}", "failure": None if each["status"] == "ok" else "error"}
        if each["status"] != "ok":
            each["latency_ms"] = None  # as in every output: it does not count
    asked = Choosing(most, least, by)
    found = choose(candidates_of({"conversions": made}), asked)
    best, fitting = by_brute_force(made, asked)
    assert (found.conversion, set(found.fitting)) == (best, fitting)
    assert {*found.rejected} == {each["conversion"] for each in made if each["latency_ms"] is not None} - fitting
    assert all(found.rejected.values())


def test_fifty_sets_of_limits_on_a_stored_job_of_tier_3() -> None:
    entries: Entries = json.loads(STORED.read_text(encoding="utf-8"))
    draw = random.Random(25)  # noqa: S311 - limits, not secrets
    there = [name for name in NAMES if any(each.get(name) is not None for each in entries)]
    found_any = 0
    for _ in range(50):
        sides: list[dict[str, float]] = [{}, {}]
        for name in draw.sample(there, draw.randint(1, 3)):
            values = sorted(each[name] for each in entries if each.get(name) is not None)
            sides[draw.random() < 0.3].update({name: draw.choice(values)})
        asked = Choosing(sides[0], sides[1], draw.choice(there))
        found = choose(candidates_of({"conversions": entries}), asked)
        assert (found.conversion, set(found.fitting)) == by_brute_force(entries, asked), asked
        found_any += found.conversion is not None
    assert 10 < found_any < 50  # both answers are among them


def test_each_other_one_says_what_it_failed_by() -> None:
    candidates = {
        "SLOW": {"latency_ms": 31.0, "latency/p99": 40.04, "memory/model_mb": 47.0},
        "HEAVY": {"latency_ms": 5.0, "latency/p99": 6.0, "memory/model_mb": 900.0},
        "SHORT": {"latency_ms": 4.0, "memory/model_mb": 47.0},
        "FITS": {"latency_ms": 10.0, "latency/p99": 12.0, "memory/model_mb": 47.0},
    }
    found = choose(candidates, Choosing(max={"latency/p99": 40, "memory/model_mb": 300}))
    assert found.conversion == "FITS"
    assert found.value == 10.0
    assert found.rejected == {
        "SLOW": ["latency/p99 40.04 > 40"],
        "HEAVY": ["memory/model_mb 900 > 300"],
        "SHORT": ["has no latency/p99, which takes measure.min_samples=662"],
    }


def test_a_figure_just_beyond_its_limit_is_shown_with_the_digits_that_tell() -> None:
    assert apart(20.0004, 20.0) == ("20.0004", "20")
    assert apart(31.2345, 20.0) == ("31.23", "20")


def test_an_output_that_is_equal_to_eagers_keeps_to_any_signal_to_noise_ratio() -> None:
    made = job(changed(ok("EAGER", 20.0), fidelity=replace(GOOD, sqnr_db=float("inf"), max_abs_diff=0.0)), ok("A", 5.0))
    found = analyse(replace(made, choose=Choosing(min={"fidelity/sqnr_db": 150}, by="fidelity/sqnr_db"))).choice
    assert found
    assert (found.conversion, found.value) == ("EAGER", 200.0)
    assert found.rejected == {"A": ["fidelity/sqnr_db 110 < 150"]}


def test_of_a_job_only_what_counts_is_chosen_and_noise_ties_as_it_does_for_the_best() -> None:
    wrong = failed("JIT_TRACE", FailureKind.WRONG_OUTPUT, samples_ms=1.0)
    made = job(wrong, in_rounds(ok("A"), [10.0] * 9), in_rounds(ok("B"), [10.01, 9.99] * 4), ok("C", 30.0))
    found = analyse(replace(made, choose=Choosing(max={"latency_ms": 20}))).choice
    assert found
    assert (found.fitting, found.tied_with_chosen) == (["A", "B"], ["B"])
    assert {*found.rejected} == {"C"}
    assert analyse(made).choice is None
    nothing = analyse(replace(made, choose=Choosing(max={"latency_ms": 1}))).choice
    assert nothing
    assert nothing.conversion is None
    assert to_output(replace(made, choose=Choosing(by="throughput")))["choice"]["conversion"] == "A"


def test_what_lost_too_much_quality_is_among_those_that_do_not_fit() -> None:
    lossy = changed(ok("LOSSY", 5.0), quality={"top1": 0.7}, quality_drops={"top1": QualityDrop(0.06)})
    kept = changed(ok("KEPT", 9.0), quality={"top1": 0.7}, quality_drops={"top1": QualityDrop(0.75 - 0.7)})
    made = replace(job(ok("EAGER", 20.0), kept, lossy), evaluate=EvaluateSpec("a.b", max_drop=0.05))
    made = replace(made, choose=Choosing(max={"latency_ms": 30}))
    of_job, of_output = analyse(made).choice, to_output(made)
    stored = choose(candidates_of(of_output), made.choose, fallen=fallen_in(of_output))
    for found in (of_job, stored):
        assert found
        assert (found.conversion, found.fitting) == ("KEPT", ["KEPT", "EAGER"])
        assert found.rejected == {"LOSSY": ["top1 fell by 0.06, more than evaluate.max_drop=0.05"]}
        assert "2 of 3 fit" in chosen(found)
    assert analyse(made).ranked == ("KEPT", "EAGER")
    assert analyse(replace(made, choose=Choosing(max={"latency_ms": 1}))).ranked == ()
    assert analyse(replace(made, choose=Choosing())).ranked == ("KEPT", "EAGER")


def test_a_difference_that_is_the_limit_but_for_rounding_keeps_to_it() -> None:
    candidates = {"A": {"latency_ms": 1.0, "quality/top1_drop": 0.75 - 0.7, "quality/top1": 0.1 + 0.2}}
    for asked in (Choosing(max={"quality/top1_drop": 0.05}), Choosing(max={"quality/top1": 0.3})):
        assert choose(candidates, asked).conversion == "A"
    assert choose(candidates, Choosing(max={"quality/top1_drop": 0.0499})).conversion is None


def test_stored_figures_are_tied_where_their_intervals_overlap() -> None:
    figures = {"A": (9.0, 11.0), "B": (10.5, 12.0), "C": (11.5, 13.0)}
    candidates = {
        name: {"latency_ms": (low + high) / 2, "latency/ci_low": low, "latency/ci_high": high, "memory/model_mb": 4.0}
        for name, (low, high) in figures.items()
    }
    assert choose(candidates, Choosing()).tied_with_chosen == ["B"]
    assert choose(candidates, Choosing(by="memory/model_mb")).tied_with_chosen == ["B", "C"]


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("latency_ms", False),
        ("latency/p99", False),
        ("throughput", True),
        ("fidelity/sqnr_db", True),
        ("fidelity/max_abs_diff", False),
        ("speedup_vs_eager", True),
        ("speedup/floor_vs_inductor", True),
        ("prediction_abs_error_pct", False),
        ("prediction/roofline/error_pct", False),
        ("size/8/latency_ms", False),
        ("size/8/sqnr_db", True),
        ("latency/rounds", True),
        ("narrow/work_share", True),
        ("noise/stable", True),
        ("noise/cv", False),
        ("quality/top1", True),
        ("quality/top1_drop", False),
        ("quality/mse", False),
        ("quality/f1.macro", True),
        ("quality/val.loss", False),
        ("quality/loss_drop", False),
        ("quality/samples", True),
        ("memory/model_mb", False),
        ("compiled/outside_share", False),
    ],
)
def test_which_way_a_metric_is_better(name: str, more: bool) -> None:
    assert is_metric(name)
    assert more_is_better(name) is more


@pytest.mark.parametrize(
    "name",
    [
        "mse",
        "loss",
        "val_loss",
        "error",
        "top1.error",
        "MAE",
        "perplexity",
        "wer",
        "error_rate",
        "logloss",
        "cross_entropy",
        "errors",
        "losses",
        "rmse_deg",
        "mae_cm",
        "brier",
        "ece",
        "eer",
        "fid",
        "ppl",
    ],
)
def test_a_word_of_a_name_tells_that_less_is_better(name: str) -> None:
    assert is_error(name)
    assert is_error(f"val-{name}.mean")


def test_other_names_are_of_what_more_is_better() -> None:
    for name in ("top1", "lossless_share", "terror", "f1.macro", "map", "depth"):
        assert not is_error(name)
    assert is_error("depth", ["depth"])


DEPTHS: dict[str, dict[str, float | None]] = {
    "EAGER": {"latency_ms": 9.0, "quality/depth": 2.0, "quality/depth_drop": 0.0},
    "ONNX_CPU": {"latency_ms": 5.0, "quality/depth": 3.0, "quality/depth_drop": 1.0},
    "OPENVINO": {"latency_ms": 2.0, "quality/depth": 3.5, "quality/depth_drop": 1.5},
}


def test_a_setting_tells_which_way_a_figure_is_better_where_its_name_does_not() -> None:
    asked = Choosing(by="quality/depth")
    less = choose(DEPTHS, asked, lower_is_better=["depth"])
    assert less.fitting == ["EAGER", "ONNX_CPU", "OPENVINO"]
    assert front(DEPTHS, ["depth"]) == ["OPENVINO", "ONNX_CPU", "EAGER"]
    assert choose(DEPTHS, asked).fitting == ["OPENVINO", "ONNX_CPU", "EAGER"]
    assert front(DEPTHS) == ["OPENVINO"]


def test_older_results_tell_it_by_what_a_figure_lost() -> None:
    assert lower_is_better_in(DEPTHS.values()) == ["depth"]
    more = [each | {"quality/depth_drop": 2.0 - (each["quality/depth"] or 0)} for each in DEPTHS.values()]
    bare = [{"latency_ms": 1.0, "quality/depth": each["quality/depth"]} for each in DEPTHS.values()]
    named = [{"quality/loss": each["quality/depth"], "quality/loss_drop": 1.0} for each in DEPTHS.values()]
    assert [lower_is_better_in(each) for each in (more, bare, named)] == [[], [], []]
    entries = [{"conversion": name, "status": "ok", **each} for name, each in DEPTHS.items()]
    assert completed({"conversions": entries})["lower_is_better"] == ["depth"]
    assert completed({"conversions": entries})["pareto"] == ["OPENVINO", "ONNX_CPU", "EAGER"]
    assert completed({"conversions": entries, "lower_is_better": []})["pareto"] == ["OPENVINO"]


def test_names_that_are_none_have_the_nearest() -> None:
    assert not any(
        is_metric(each) for each in ("", "latency", "latency/p98", "quality/", "quality/a/b", "prediction/x")
    )
    assert is_metric("prediction/calibrated/floor_error_pct")
    assert unknown_metric("latency/p98").startswith("latency/p98: no such metric; nearest: latency/p9")
    assert "memory/model_mb" in unknown_metric("model_mb")
    assert "docs/architecture.md" in unknown_metric("colour")
    assert len(KNOWN) == len(set(KNOWN))
