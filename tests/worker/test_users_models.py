"""Models that keep state, write to their inputs, draw at random or decide by values: the verdicts on conversions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.conversion_child import NEWER_TORCH
from tests.support.minimal_task import Events, TurnInbox, do_prepare, make_task

from almaflow.conversions.catalogue.plan import plan
from almaflow.records import InputSpec, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from almaflow.records import Measurement

pytestmark = [pytest.mark.slow, pytest.mark.alma]


def measured(tmp_path: Path, name: str, conversion: str, dtype: str = "float32", **model: Any) -> list[Measurement]:
    """What a worker keeps of one conversion of a model; it raises what the worker raises."""
    from almaflow.worker.conversion import run_conversion

    target = f"tests.support.users_models.{name}"
    spec = ModelSpec(name, target=target, inputs=(InputSpec((8,), dtype),), batch_size=2)
    task = make_task(tmp_path, replace(spec, **model), warmup_calls=1, warmup_time_s=0.0, min_samples=2, min_time_s=0.0)
    prepared = do_prepare(task)
    (planned,) = plan([conversion], 1, "cpu", allow_device_override=True)
    task = replace(task, conversion=planned, weights_digest=prepared.weights_digest, traits=prepared.traits)
    kept: list[Measurement] = []
    run_conversion(task, Events(), TurnInbox(left=2), 0.0, kept.append)  # type: ignore[arg-type]
    return kept


@pytest.mark.parametrize("name", ["Counts", "Remembers", "Normalises", "Caches", "SameBuffer"])
def test_eager_answers_what_eager_answers(name: str, tmp_path: Path) -> None:
    fidelity = measured(tmp_path, name, "EAGER")[-1].fidelity
    assert fidelity is not None
    assert fidelity.ok
    assert fidelity.max_abs_diff == 0


@pytest.mark.parametrize("conversion", ["JIT_TRACE", "EXPORT+EAGER"])
@pytest.mark.parametrize("name", ["Counts", "Normalises", "Caches", "SameBuffer"])
def test_a_right_conversion_is_not_blamed_for_what_the_model_does(name: str, conversion: str, tmp_path: Path) -> None:
    if (name, conversion) == ("Counts", "EXPORT+EAGER") and not NEWER_TORCH:
        pytest.skip("PyTorch 2.7 does not export a model that changes a buffer")
    fidelity = measured(tmp_path, name, conversion)[-1].fidelity
    assert fidelity is not None
    assert fidelity.ok


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_a_model_of_another_type_is_measured_in_its_own(dtype: str, tmp_path: Path) -> None:
    import torch

    kwargs = {"in_features": 8, "out_features": 4, "dtype": getattr(torch, dtype)}
    kept = measured(tmp_path, "half", "EAGER", dtype, target="torch.nn.Linear", kwargs=kwargs)
    fidelity = kept[-1].fidelity
    assert fidelity is not None
    assert fidelity.max_abs_diff == 0
    assert fidelity.tolerance_db == {"bfloat16": 15.0, "float16": 25.0, "float64": 50.0}[dtype]


def test_a_trace_of_a_model_that_decides_by_values_is_refused_with_the_place(tmp_path: Path) -> None:
    from almaflow.worker.failures import classify
    from almaflow.worker.tracing import FrozenDecisionError

    with pytest.raises(FrozenDecisionError, match=r"users_models\.py:\d+ .*abs\(\)\.max\(\) > 10") as caught:
        measured(tmp_path, "Branches", "JIT_TRACE")
    assert classify(caught.value, "convert").kind == "unsupported"


@pytest.mark.parametrize(("name", "conversion"), [("Branches", "TORCH_SCRIPT"), ("BySize", "JIT_TRACE")])
def test_what_keeps_the_decision_or_needs_none_is_right(name: str, conversion: str, tmp_path: Path) -> None:
    fidelity = measured(tmp_path, name, conversion)[-1].fidelity
    assert fidelity is not None
    assert fidelity.ok


def test_copies_for_a_model_that_writes_to_its_inputs_are_made_outside_of_the_clock(tmp_path: Path) -> None:
    import time

    from almaflow.worker.rounds import Rounds

    task = make_task(tmp_path, warmup_calls=2, warmup_time_s=0.0, min_samples=3, min_time_s=0.0)
    order: list[tuple[str, int]] = []

    def prepare(index: int) -> None:
        time.sleep(0.02)
        order.append(("prepare", index))

    rounds = Rounds(lambda i: order.append(("call", i)), lambda: None, task, Events(), prepare)  # type: ignore[arg-type]
    rounds.take(TurnInbox(left=1).next())  # type: ignore[arg-type]
    assert max(rounds.samples_ms) < 10
    assert order[::2] == [("prepare", index) for _, index in order[1::2]]
    assert {kind for kind, _ in order[1::2]} == {"call"}
