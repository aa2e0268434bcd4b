"""Figures at sizes other than the example's: metrics by size, and the table under the main one."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from tests.support.example_jobs import changed, failed, job, ok, planned

from almaflow.analysis import analyse, outcome_metrics
from almaflow.analysis.batch_search import search_table, searched
from almaflow.analysis.compare import Side, compare
from almaflow.analysis.metric_names import is_metric, more_is_better
from almaflow.analysis.output import to_output
from almaflow.analysis.sizes import size_table
from almaflow.records import (
    BatchSearch,
    BatchSearchResult,
    DynamicDim,
    Job,
    Outcome,
    SizeMeasurement,
    from_dict,
    to_dict,
)
from almaflow.report.html_page import document
from almaflow.report.markdown import summary_markdown
from almaflow.report.table import render
from almaflow.tracking.fingerprints import fingerprint, plan_fingerprint
from almaflow.tracking.schema import check_metrics, job_params, tags

BATCH = DynamicDim("batch", 1, 32)


def at(batch: int, latency_ms: float, recompiles: int | None = None) -> SizeMeasurement:
    return SizeMeasurement({"batch": batch}, (latency_ms,) * 24, 90.0, 1e-6, recompiles)


def made() -> Job:
    eager = changed(ok("EAGER", 20.0), sizes=(at(1, 5.0), at(8, 40.0)))
    inductor = changed(ok("COMPILE_INDUCTOR_DEFAULT", 10.0), sizes=(at(1, 4.0, 1), at(8, 20.0, 0)))
    whole = job(eager, inductor, failed("ONNX_CPU"))
    return replace(whole, model=replace(whole.model, dynamic=(BATCH,), sizes=({"batch": 1}, {"batch": 8})))


def test_each_size_has_its_metrics_and_the_main_figures_stay() -> None:
    whole = made()
    metrics = outcome_metrics(whole, whole.outcomes[1])
    assert metrics["latency_ms"] == 10.0
    assert metrics["size/8/latency_ms"] == metrics["size/8/floor_ms"] == 20.0
    assert metrics["size/8/throughput"] == 400.0
    assert metrics["size/1/recompiles"] == 1
    assert metrics["size/8/sqnr_db"] == 90.0
    check_metrics(metrics)
    assert all(map(is_metric, metrics))
    assert not is_metric("size/8")
    assert more_is_better("size/8/throughput")
    assert not more_is_better("size/8/latency_ms")


def test_concurrent_calls_count_by_the_time_that_they_took_together() -> None:
    outcome = changed(ok("EAGER", 20.0), sizes=(replace(at(8, 40.0), wall_s=0.48),))
    # 24 calls of 8 samples, each of 40 ms and two at once.
    assert outcome_metrics(job(outcome), outcome)["size/8/throughput"] == pytest.approx(400.0)
    assert outcome_metrics(job(outcome), outcome)["size/8/latency_ms"] == 40.0


def test_a_static_and_a_dynamic_result_have_no_verdict_on_a_runtime() -> None:
    fixed, dynamic = (
        Side(name, "EAGER", {"latency_ms": 1.0}, {"params.model": "resnet18", **facts})
        for name, facts in (("a", {}), ("b", {"params.dynamic": "batch"}))
    )
    assert compare(fixed, dynamic).incomparable == ("dynamic differs: none, batch",)
    assert compare(fixed, fixed).incomparable == ()


def test_the_table_has_a_column_for_each_size_and_says_what_was_compiled_anew() -> None:
    header, rows = size_table((row.name, row.metrics) for row in analyse(made()).rows if row.counts)
    assert header == ("ms at", "batch 1", "batch 8")
    assert rows == [
        ("COMPILE_INDUCTOR_DEFAULT", "4.00 (compiled anew)", "20.00"),
        ("EAGER", "5.00", "40.00"),
    ]
    assert size_table([("EAGER", {"latency_ms": 1.0})]) == ((), [])
    assert size_table([("A", {"size/batch-8_sequence-64/latency_ms": 1.0})])[0] == ("ms at", "batch 8, sequence 64")


def test_every_document_has_it() -> None:
    whole = made()
    assert "| ms at | batch 1 | batch 8 |" in summary_markdown(whole, analyse(whole))
    assert '<th>ms at</th><th class="figure">batch 1</th>' in document("title", [to_output(whole)])


def test_what_is_dynamic_tells_results_apart_and_older_ones_stay_as_they_are() -> None:
    whole = made()
    fixed = replace(whole, model=replace(whole.model, dynamic=(), sizes=()))
    other = replace(whole, model=replace(whole.model, sizes=({"batch": 2},)))
    prints = [fingerprint(each, planned("EAGER")) for each in (whole, fixed, other)]
    assert len(set(prints)) == 3
    assert len({plan_fingerprint(each, [planned("EAGER")]) for each in (whole, fixed, other)}) == 3
    assert {"dynamic", "sizes"}.isdisjoint(job_params(fixed))
    assert job_params(whole)["dynamic"] == "batch 1-32"
    assert job_params(whole)["sizes"] == "1, 8"


def test_an_outcome_goes_through_json_and_one_without_sizes_can_be_read() -> None:
    outcome = made().outcomes[1]
    plain = to_dict(outcome)
    assert from_dict(Outcome, plain) == outcome
    del plain["measurement"]["sizes"]
    read = from_dict(Outcome, plain).measurement
    assert read is not None
    assert read.sizes == ()


def searched_job() -> Job:
    found = BatchSearchResult(2, "at 4: latency_ms 40 > 30", (at(1, 10.0), at(2, 12.5), at(4, 40.0)))
    none = BatchSearchResult(None, "at 1 already: latency_ms 50 > 30", (at(1, 50.0),))
    whole = job(changed(ok("EAGER", 20.0), search=none), changed(ok("ONNX_CPU", 10.0), search=found))
    return replace(whole, model=replace(whole.model, dynamic=(BATCH,), search=BatchSearch(1, 32)))


def test_a_search_gives_metrics_a_tag_and_an_entry_with_all_that_was_tried() -> None:
    whole = searched_job()
    metrics = outcome_metrics(whole, whole.outcomes[1])
    found = {name: value for name, value in metrics.items() if name.startswith("batch_search/")}
    assert found == {
        "batch_search/size": 2.0, "batch_search/throughput": 160.0, "batch_search/latency_ms": 12.5,
    }  # fmt: skip
    assert all(map(is_metric, found))
    assert [more_is_better(name) for name in found] == [True, True, False]
    assert tags(whole, whole.outcomes[1])["almaflow.batch_search"] == "2: at 4: latency_ms 40 > 30"
    assert tags(whole, whole.outcomes[0])["almaflow.batch_search"] == "none: at 1 already: latency_ms 50 > 30"
    entry = to_output(whole)["conversions"][1]["batch_search"]
    assert [(each["batch"], each["floor_ms"]) for each in entry["tried"]] == [(1, 10.0), (2, 12.5), (4, 40.0)]
    assert job_params(whole)["sizes"] == "search"
    without = replace(whole, model=replace(whole.model, search=None))
    assert fingerprint(whole, planned("EAGER")) != fingerprint(without, planned("EAGER"))


def test_a_search_has_a_table_in_every_document() -> None:
    whole = searched_job()
    header, rows = search_table((row.name, searched(row.outcome.measurement)) for row in analyse(whole).rows)
    assert header[:4] == ("batch search", "batch", "ms", "samples/s")
    assert rows == [
        ("ONNX_CPU", "2", "12.50", "160.0", "at 4: latency_ms 40 > 30"),
        ("EAGER", "none", "", "", "at 1 already: latency_ms 50 > 30"),
    ]
    assert search_table([("EAGER", None)]) == ((), [])
    assert "| `ONNX_CPU` | 2 | 12.50 | 160.0 |" in summary_markdown(whole, analyse(whole))
    page = document("title", [to_output(whole)])
    assert '<td class="figure">160.0</td><td>at 4: latency_ms 40 &gt; 30</td>' in page
    console = Console(file=io.StringIO(), width=120)
    render(whole, analyse(whole), console)
    assert "12.50" in console.file.getvalue()  # type: ignore[attr-defined]
    assert "why no larger one" in console.file.getvalue()  # type: ignore[attr-defined]
