"""``almaflow predict``: other hardware, what is known of the predictor, prices, pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from tests.support.example_jobs import ok
from tests.support.stored_jobs import new, stored

from almaflow.cli.predict import predict
from almaflow.config.composition import compose
from almaflow.config.files import choices
from almaflow.config.overrides import expand
from almaflow.config.resolve import describe_hardware
from almaflow.errors import AlmaflowError, UsageError
from almaflow.jobs.request import make_request
from almaflow.predict import Graphs, workloads
from almaflow.predict.configured import resolve_job
from almaflow.predict.forecast import questions
from almaflow.records import Operation, Prediction, Workload

if TYPE_CHECKING:
    from pathlib import Path

WORK = Workload((Operation("addmm", "matmul", 2e9, 1e6, 4e6, 1e6, (8, 1), "float32"),), 4.0, 1)


@pytest.fixture(autouse=True)
def _counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's operations, made up: counting has its own tests."""
    monkeypatch.setattr(workloads, "_counted", lambda _: WORK)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(predict, ["model=simple", "predictor=roofline", *arguments], catch_exceptions=False)


@pytest.mark.parametrize(
    "overrides",
    [
        ["tier=2", "hardware.threads=3"],
        ["conversions=[ONNX_GPU,EAGER]", "allow_device_override=false", "batch_size=4", "seed=7"],
        ["predictor=[roofline,calibrated]", "predicted_latency_ms=5", "hardware.limits.overhead_us=9"],
    ],
)
def test_a_forecast_asks_about_what_a_job_would_measure(overrides: list[str]) -> None:
    config = compose(["model=simple", "hardware=cpu", *overrides])
    request, resolved = make_request(config), resolve_job(config, here=False)
    assert {name: getattr(request, name) for name in vars(resolved)} == vars(resolved)
    asked = list(questions(resolved, config.experiment_name))
    assert [each.conversion for each in asked] == list(request.plan)
    assert {(each.model.name, each.hardware.name, each.batch_size) for each in asked} == {
        (request.model.name, request.hardware.name, config.batch_size)
    }


def test_machines_that_are_not_here_side_by_side() -> None:
    done = run("hardware=a100,h100,t4", "batch_size=1,8", "conversions=[EAGER]", "--json")
    found = json.loads(done.stdout)
    assert [(each["hardware"], each["batch_size"]) for each in found] == [
        (name, size) for name in ("a100", "h100", "t4") for size in (1, 8)
    ]
    by_name = {each["hardware"]: each["predicted_latency_ms"] for each in found if each["batch_size"] == 1}
    assert by_name["h100"] < by_name["a100"] < by_name["t4"]
    assert all(each["known_conversions"] == 0 for each in found)


def test_what_a_million_samples_cost() -> None:
    (found,) = json.loads(run("hardware=g4dn_xlarge", "conversions=[EAGER]", "batch_size=4", "--json").stdout)
    price = choices("hardware")["g4dn_xlarge"]["price_per_hour"]
    expected = price * found["predicted_latency_ms"] / 3.6e6 * 1e6 / 4
    assert found["usd_per_million_samples"] == pytest.approx(expected)
    assert found["throughput"] == pytest.approx(4000 / found["predicted_latency_ms"])


def test_the_table_says_that_nothing_was_measured() -> None:
    text = run("hardware=g4dn_xlarge,h100", "--explain").stdout
    assert "predicted, not measured" in text
    assert "never judged" in text
    assert "USD an hour; AWS on-demand list price" in text
    assert "ms of one call" in text
    assert "matrix product" in text


def test_hardware_without_overheads_has_bounds_and_says_so() -> None:
    text = run("hardware=h100,t4", "conversions=[EAGER]").stdout
    assert "predicted, not measured, at best (lower bound)\n" in text
    assert ">= " in text
    assert "<= " in text  # samples a second
    assert "not known for h100 and t4 (hardware.limits.overhead_us)" in " ".join(text.split())
    known = run("hardware=h100", "hardware.limits.overhead_us=9", "conversions=[EAGER]")
    assert "lower bound" not in known.stdout
    assert ">= " not in known.stdout
    (found,) = json.loads(run("hardware=h100", "conversions=[EAGER]", "--json").stdout)
    assert found["lower_bound"] is True


def test_a_roofline_without_limits_says_what_to_run() -> None:
    """Another predictor has an answer, so that there is a table."""
    said = run("hardware=cpu", "conversions=[EAGER]", "predicted_latency_ms=5", "--explain")
    assert "5.00" in said.stdout
    assert "almaflow: roofline knows no limits of" in said.stderr
    assert "almaflow calibrate --quick" in said.stderr


def test_how_far_the_predictor_was_from_what_the_store_has() -> None:
    hardware = describe_hardware(compose(["model=simple", "hardware=cpu"]))
    judged = replace(ok("EAGER", 10.0), predictions=(Prediction(11.0, "roofline", "1"),))
    stored("earlier", judged, made=replace(new("earlier"), hardware=hardware))
    limits = "hardware.limits={gflops: {float32: 100}, bandwidth: [{name: D, gb_s: 10}]}"
    (found, *_) = json.loads(run("hardware=cpu", limits, "conversions=[EAGER]", "--json").stdout)
    assert found["known_mean_abs_error_pct"] == pytest.approx(10.0)
    assert found["known_conversions"] == 1


def test_a_predictor_that_fails_costs_only_its_own_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        message = "it has no analysis of this"
        raise AlmaflowError(message)

    monkeypatch.setattr(Graphs, "predict", fail)
    monkeypatch.setattr(Graphs, "version", "1")
    done = run("predictor=[graphs,roofline]", "hardware=h100", "--json")
    assert {each["predictor"] for each in json.loads(done.stdout)} == {"roofline"}
    assert done.stderr == "almaflow: predictor graphs: it has no analysis of this; it is not asked again\n"


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_a_picture(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"p.{suffix}"
    assert run("hardware=h100", "--plot", str(file)).exit_code == 0
    assert file.stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("hardware=h101",), "hardware=h101: no such hardware; nearest: h10"),
        (("hardware=h100", "--plot", "x.doc"), "must end in .svg, .png or .pdf"),
        (("hardware=cpu",), "no predictor has an answer"),
        (("hardware=h100", "a=["), "is not of the form KEY=VALUE"),
    ],
)
def test_wrong_input_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        run(*arguments)
    assert "\n" not in str(raised.value)


def test_values_in_commas_are_all_tried() -> None:
    assert expand(["model=a,b", "x=1", "tier=1,2"]) == [
        ["model=a", "x=1", "tier='1'"],
        ["model=a", "x=1", "tier='2'"],
        ["model=b", "x=1", "tier='1'"],
        ["model=b", "x=1", "tier='2'"],
    ]
    assert expand(["conversions=[EAGER,ONNX_CPU]"]) == [["conversions=[EAGER,ONNX_CPU]"]]
    assert expand([]) == [[]]


def test_every_hardware_config_with_limits_composes() -> None:
    known = [name for name, values in choices("hardware").items() if "limits" in values]
    assert {"i7_12700k", "r6i_large", "r6g_large", "t4", "a10g", "a100", "h100", "h200", "g5_xlarge"} <= set(known)
    for name in known:
        hardware = describe_hardware(compose(["model=simple", f"hardware={name}"]))
        assert hardware.limits is not None
        assert hardware.limits.gflops["float32"] > 0
        assert hardware.limits.bandwidth[-1].mb is None
