"""What a worker does, called in this process: settle, prepare, feed, check."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests import trouble
from tests.made_jobs import planned

from almaflow.errors import UsageError
from almaflow.measure.failures import FellBackError, WrongOutputError
from almaflow.records import HardwareSpec, InputSpec, Measurement, MeasureSpec, ModelSpec, WorkerTask

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import nn

pytestmark = [pytest.mark.slow, pytest.mark.alma]  # importing torch takes seconds

LINEAR = ModelSpec(
    "linear",
    target="torch.nn.Linear",
    kwargs={"in_features": 6, "out_features": 3},
    inputs=(InputSpec((6,)),),
    batch_size=2,
)


def make_task(tmp_path: Path, model: ModelSpec = LINEAR, **measure: Any) -> WorkerTask:
    import torch

    return WorkerTask(
        model=model,
        hardware=HardwareSpec("here", "cpu", threads=torch.get_num_threads()),
        measure=MeasureSpec(**measure),
        conversion=None,
        work_dir=str(tmp_path),
        reference_path=str(tmp_path / "reference.pt"),
    )


def sleepy_vit() -> nn.Sequential:
    """Convolution, normalisation, and a head of zeros, as fresh vision transformers have it."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    nn.init.zeros_(model[5].get_parameter("weight"))
    return model.eval()


def images(count: int = 4, batch_size: int = 1) -> list[tuple[torch.Tensor, ...]]:
    import torch

    generator = torch.Generator().manual_seed(1)
    return [(3 + 2 * torch.randn(batch_size, 3, 8, 8, generator=generator),) for _ in range(count)]


def test_settling_wakes_what_sleeps_and_restoring_gives_the_same_model_to_the_bit() -> None:
    import torch

    from almaflow.models.build import weights_digest
    from almaflow.models.settle import restore, settle

    model, fresh = sleepy_vit(), sleepy_vit()
    assert weights_digest(model) == weights_digest(fresh)
    with torch.no_grad():
        assert not model(images()[0][0]).ne(model(images()[1][0])).any()
    changed = settle(model, images(), seed=3)
    assert set(changed) == {"5.weight", "1.running_mean", "1.running_var", "1.num_batches_tracked"}
    assert not any(module.training for module in model.modules())
    with torch.no_grad():
        outputs = [model(*batch) for batch in images()]
        before = fresh[0](torch.cat([batch[0] for batch in images()]))
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.allclose(changed["1.running_mean"], before.mean(dim=(0, 2, 3)), atol=1e-5)
    assert torch.allclose(changed["1.running_var"], before.var(dim=(0, 2, 3)), rtol=1e-4)
    restore(fresh, changed)
    assert weights_digest(fresh) == weights_digest(model)
    with torch.no_grad():
        assert all(torch.equal(fresh(*batch), output) for batch, output in zip(images(), outputs, strict=True))
    again = sleepy_vit()
    settle(again, images(), seed=3)
    assert weights_digest(again) == weights_digest(model)


def test_settling_leaves_biases_alone_and_needs_two_rows_for_a_variance() -> None:
    import torch
    from torch import nn

    from almaflow.models.settle import settle

    model = sleepy_vit()
    nn.init.zeros_(model[5].get_parameter("bias"))
    assert set(settle(model, images(count=1), seed=0)) == {"5.weight"}
    assert not torch.any(model[5].get_parameter("bias") != 0)


def test_preparing_leaves_the_inputs_and_eagers_outputs(tmp_path: Path) -> None:
    import torch

    from almaflow.measure.prepare import prepare

    task = make_task(tmp_path, fidelity_inputs=3)
    prepared = prepare(task)
    reference = torch.load(task.reference_path, weights_only=True)
    assert len(reference["batches"]) == len(reference["outputs"]) == 3
    assert not torch.equal(reference["batches"][0][0], reference["batches"][1][0])
    assert reference["settled"] == {}  # not ours to change
    torch.manual_seed(0)
    model = torch.nn.Linear(6, 3)
    with torch.no_grad():
        assert torch.equal(reference["outputs"][2][0], model(reference["batches"][2][0]))
    assert [(spec.shape, spec.dtype) for spec in (*prepared.inputs, *prepared.outputs)] == [
        ((2, 6), "float32"),
        ((2, 3), "float32"),
    ]
    assert prepared.parameters == 21
    assert prepared.threads["torch"] == task.hardware.threads
    assert prepared.eager_s > 0
    assert prepared.notes == ()


def test_preparing_says_when_eager_cannot_tell_right_from_wrong(tmp_path: Path) -> None:
    from almaflow.measure.prepare import prepare

    deaf = replace(LINEAR, target="torch.nn.Threshold", kwargs={"threshold": 1e9, "value": 4.0})
    (note,) = prepare(make_task(tmp_path, deaf)).notes
    assert "eager answers the same to every input" in note


@pytest.mark.parametrize(
    "model",
    [
        replace(LINEAR, inputs=(InputSpec((7,)),)),
        ModelSpec("resnet18", arch="resnet18", inputs=(InputSpec((1, 32, 32)),)),
    ],
    ids=["a caller's model", "a random model, which is settled first"],
)
def test_inputs_that_do_not_fit_are_the_users_to_mend(tmp_path: Path, model: ModelSpec) -> None:
    from almaflow.measure.prepare import prepare

    with pytest.raises(
        UsageError, match=r"the model does not run on inputs of shape .*; change model\.inputs"
    ) as caught:
        prepare(make_task(tmp_path, model))
    assert "\n" not in str(caught.value)


def test_inputs_are_cast_and_copied_inside_the_call_only_where_asked(tmp_path: Path) -> None:
    import torch

    from almaflow.measure.steps import _Inputs

    host: list[tuple[torch.Tensor, ...]] = [
        (torch.ones(2, 6), torch.ones(2, dtype=torch.int64)),
        (torch.zeros(2, 6), torch.zeros(2, dtype=torch.int64)),
    ]
    half = replace(planned("FP16+EAGER", dtype="float16"), input_dtype="float16")
    inputs = _Inputs(host, half, make_task(tmp_path))
    assert [tensor.dtype for tensor in inputs.get(0)] == [torch.float16, torch.int64]
    assert inputs.get(0) is inputs.get(2)  # round and round
    assert torch.equal(inputs.get(3)[1], host[1][1])
    copied = _Inputs(host, half, make_task(tmp_path, include_transfer=True))
    assert copied.get(0) is not copied.get(0)
    assert all(torch.equal(a, b) for a, b in zip(copied.get(1), inputs.get(1), strict=True))


class Conversion:
    """A converted model as the check sees it."""

    def __init__(self, answers: list[object], **evidence: Any) -> None:
        from almaflow.conversions.evidence import Evidence

        self._answers = iter(answers)
        self._evidence = Evidence(**evidence)

    def call(self, _batch: object) -> object:
        return next(self._answers)

    def evidence(self) -> object:
        return self._evidence


@pytest.mark.parametrize(
    ("answer", "evidence", "error", "message"),
    [
        (None, {}, WrongOutputError, "NoneType without a tensor"),
        ("text", {}, WrongOutputError, "str without a tensor"),
        ("negated", {}, WrongOutputError, "SQNR"),
        ("right", {"fell_back": "inductor ran it"}, FellBackError, "inductor ran it"),
        ("right", {"device": "cuda"}, FellBackError, "ran on cuda, not on cpu"),
        ("right", {"runtime": {"provider": "P"}, "recompiles": 2}, None, ""),
    ],
)
def test_the_check_keeps_what_it_found_before_it_judges(
    tmp_path: Path, answer: str | None, evidence: dict[str, Any], error: type[Exception] | None, message: str
) -> None:
    import torch

    from almaflow.measure.steps import _check, _Inputs

    batches: list[tuple[torch.Tensor, ...]] = [(torch.randn(2, 6),), (torch.randn(2, 6),)]
    references = [[torch.randn(2, 3)], [torch.randn(2, 3)]]
    answers = {
        "negated": [-reference[0] for reference in references],
        "right": [reference[0] for reference in references],
    }.get(str(answer), [answer, answer])
    kept: list[Measurement] = []
    inputs = _Inputs(batches, planned(), make_task(tmp_path))

    def check() -> None:
        before = trouble.measurement((1.0,), None)
        _check(Conversion(answers, **evidence), before, inputs, references, planned(), kept.append, 0.0)  # type: ignore[arg-type]

    if error is None:
        check()
    else:
        with pytest.raises(error, match=message):
            check()
    if "without" in message:
        assert not kept
        return
    assert kept[0].samples_ms == (1.0,)
    assert kept[0].fidelity is not None
    assert kept[0].fidelity.ok == (answer == "right")
    assert kept[0].device_actual == evidence.get("device", "cpu")
    assert kept[0].runtime == evidence.get("runtime", {})
    assert kept[0].recompiles == evidence.get("recompiles")


def test_a_buffer_that_the_runtime_uses_again_does_not_spoil_the_earlier_answer() -> None:
    import torch

    from almaflow.measure.steps import _answer

    buffer = torch.ones(3)
    first = _answer(buffer)
    buffer.zero_()
    assert torch.equal(first[0], torch.ones(3))


def test_memory_is_read_in_megabytes() -> None:
    import psutil

    from almaflow.measure import device

    resident = device.resident_mb()
    assert resident == pytest.approx(psutil.Process().memory_info().rss / 1e6, rel=0.05)
    device.reset_peak()
    held = bytearray(200_000_000)
    held[::4096] = b"x" * len(held[::4096])
    peak = device.peak_mb()
    if peak is None:
        pytest.skip("/proc/self/status does not tell the peak here")
    assert peak >= resident + 150
    assert device.device_peak_mb("cpu") is None
