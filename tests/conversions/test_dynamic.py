"""Dynamic dimensions from the export to the exported folder: right at each size, or refused with the reason."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.conversion_child import in_child

from almaflow.records import Axis, DynamicDim, InputSpec, ModelSpec, WorkerTask

pytestmark = [pytest.mark.slow, pytest.mark.alma]

BATCH = DynamicDim("batch", 1, 16)
MODELS = {
    "convolutions": ModelSpec(
        "convolutions",
        target="tests.support.example_models.Convolutions",
        inputs=(InputSpec((3, 12, 12), name="x"),),
        batch_size=4,
        dynamic=(BATCH,),
        sizes=({"batch": 1}, {"batch": 3}, {"batch": 8}),
    ),
    "attention": ModelSpec(
        "attention",
        target="tests.support.example_models.Attention",
        inputs=(InputSpec((7, 16), name="x"),),
        # One sample, which exporters would take for a constant.
        batch_size=1,
        dynamic=(BATCH, DynamicDim("sequence", 2, 64, (Axis("x", 1),))),
        sizes=({"batch": 3, "sequence": 5}, {"sequence": 20}),
    ),
}
FROZEN = ModelSpec(
    "frozen",
    target="tests.support.dynamic_models.MeanOverBatch",
    inputs=(InputSpec((8,), name="x"),),
    batch_size=4,
    dynamic=(BATCH,),
)
CASES = {
    f"{name} {model}": (name, MODELS[model])
    for name, model in (
        ("ONNX_CPU", "convolutions"),
        ("OPENVINO", "convolutions"),
        ("AOT_INDUCTOR_PACKAGE", "convolutions"),
        ("ONNX_CPU", "attention"),
        ("OPENVINO", "attention"),
        ("COMPILE_INDUCTOR_DEFAULT", "attention"),
        ("EXPORT+EAGER", "attention"),
    )
} | {f"{name} frozen": (name, FROZEN) for name in ("EAGER", "JIT_TRACE", "AOT_INDUCTOR_PACKAGE")}


def in_child_dynamic() -> dict[str, Any]:
    import torch

    torch.set_num_threads(1)
    prepared: dict[str, WorkerTask] = {}
    found = {}
    for case, (name, model) in CASES.items():
        if model.name not in prepared:
            prepared[model.name] = prepare(model)
        work = Path(case).absolute()
        work.mkdir()
        before = Path.cwd()
        os.chdir(work)
        try:
            found[case] = run(name, replace(prepared[model.name], work_dir=str(work)))
        finally:
            os.chdir(before)
    return found


def prepare(model: ModelSpec) -> WorkerTask:
    from tests.support.minimal_task import do_prepare, make_task

    directory = Path(f"reference-{model.name}").absolute()
    directory.mkdir()
    task = make_task(directory, model, min_samples=9, min_time_s=0.0, warmup_calls=0, warmup_time_s=0.0)
    info = do_prepare(task)
    return replace(task, weights_digest=info.weights_digest, traits=info.traits)


def run(name: str, task: WorkerTask) -> dict[str, Any]:
    """Run one conversion from start to end; what it measured, what its export is, and what that answers."""
    from tests.support.minimal_task import Events, TurnInbox

    from almaflow.conversions.catalogue.plan import plan
    from almaflow.worker.conversion import run_conversion
    from almaflow.worker.failures import classify

    planned = plan([name], 1, "cpu", allow_device_override=True, dynamic=True)[0]
    kept: list[Any] = []
    task = replace(task, conversion=planned)
    inbox: Any = TurnInbox(2, first=0, keep=True)
    events: Any = Events()
    try:
        run_conversion(task, events, inbox, time.perf_counter(), kept.append)
    except Exception as error:  # noqa: BLE001 - whatever a runtime raises is the result
        failure = classify(error, "", planned)
        return {"failure": failure.kind.value, "message": failure.message, "traceback": failure.traceback}
    last = kept[-1]
    export = Path(task.work_dir, "export")
    return {
        "sizes": [[each.size, each.sqnr_db, len(each.samples_ms), each.recompiles] for each in last.sizes],
        "runtime": last.runtime,
        "not kept": last.not_kept,
        "inputs": json.loads((export / "export.json").read_text())["inputs"] if last.not_kept is None else None,
        "export": answers_of(export, task) if last.not_kept is None else None,
    }


def answers_of(export: Path, task: WorkerTask) -> list[float]:
    """The SQNR of what ``load.py`` answers at each size, against eager's answer; none where it would compile again."""
    import torch

    from almaflow.models.outputs import flatten_outputs
    from almaflow.worker.check import Reference

    if json.loads((export / "export.json").read_text())["compiles"]:
        marks = "        torch._dynamo.maybe_mark_dynamic(given['x'], [0, 1])\n"
        assert marks in (export / "load.py").read_text()
        return []
    spec = importlib.util.spec_from_file_location("load", export / "load.py")
    assert spec
    assert spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    model = loaded.load()
    found = []
    for _, batch, answer in Reference.load(task.reference_path).sized:
        (given,) = flatten_outputs(torch.as_tensor(model(*batch)))
        wanted = answer[0][2]
        noise = (given - wanted).square().sum() if given.shape == wanted.shape else torch.tensor(float("inf"))
        found.append(min(200.0, 10 * float(torch.log10(wanted.square().sum() / noise))))
    return found


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return in_child(in_child_dynamic, tmp_path_factory.mktemp("dynamic"))


@pytest.mark.parametrize("case", [case for case in CASES if "frozen" not in case])
def test_one_conversion_is_right_at_each_size_and_so_is_its_export(seen: dict[str, Any], case: str) -> None:
    found, (_, model) = seen[case], CASES[case]
    assert "failure" not in found, found
    least = 80
    present = {"batch": model.batch_size, "sequence": 7}
    names = [dim.name for dim in model.dynamic]
    assert [size for size, *_ in found["sizes"]] == [
        {key: {**present, **size}[key] for key in names} for size in model.sizes
    ]
    assert all(db > least and count == 3 for _, db, count, _ in found["sizes"])
    assert found["not kept"] is None
    (x,) = found["inputs"]
    assert x["dynamic"][0] == "batch"
    assert x["dynamic"][1:] == (["sequence", None] if "sequence" in names else [None] * 3)
    assert all(db > least for db in found["export"]), found["export"]


def test_torch_compile_makes_one_graph_for_all_sizes_but_one(seen: dict[str, Any]) -> None:
    """It makes another for a batch of one, which the first call has, and none for further sizes."""
    found = seen["COMPILE_INDUCTOR_DEFAULT attention"]
    assert found["runtime"]["dynamo_graphs"] == "2"
    assert [graphs for *_, graphs in found["sizes"]] == [0, 0]


def test_a_size_that_a_trace_has_frozen_is_found(seen: dict[str, Any]) -> None:
    assert "failure" not in seen["EAGER frozen"]
    traced = seen["JIT_TRACE frozen"]
    assert traced["failure"] == "wrong_output"
    assert "right at the size of the example, and wrong at batch 6" in traced["message"]
    refused = seen["AOT_INDUCTOR_PACKAGE frozen"]
    assert refused["failure"] == "unsupported"
    assert "Constraints violated" in refused["message"]
