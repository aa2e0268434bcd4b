"""What a session records of an application: times, segments, sizes, inputs."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.support.recordings import alone, aside, calls_of, one_layer

from almaflow.models.build import build_example
from almaflow.records import ModelSpec
from almaflow.segments.accelerate import accelerate
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from almaflow.records.profile import Profile

pytestmark = pytest.mark.slow


def test_known_sleeps_are_read_back_and_every_graph_is_found(tmp_path: Path) -> None:
    slept: list[float] = []

    @aside
    def pause(seconds: float) -> None:
        began = time.perf_counter()
        time.sleep(seconds)
        slept.append((time.perf_counter() - began) * 1e3)

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        pause(0.1)
        x = x + 1
        pause(0.01)
        return x * 2

    session = ProfilingSession((), home=tmp_path)
    with session:
        for _ in range(6):
            predict(torch.ones(3))
    calls = calls_of(session)
    assert [(call.compiled, len(call.sequence)) for call in calls] == [(True, 2)] + [(False, 2)] * 5
    assert len({*calls[0].sequence}) == 2
    for slot, share in ((0, 0.01), (1, 0.05)):  # PyTorch's own work between graphs shows in the short one
        off = [abs(call.python_ms[slot] / slept[2 * call.number + slot] - 1) for call in calls[1:]]
        assert min(off) < share
    profile = session.profile
    assert profile is not None
    assert profile.functions[0].discarded == {"compiled": 1}
    assert len(profile.variants) == 1
    assert profile.lost == ()


def test_layers_that_are_alike_are_one_segment(record: Callable[..., Profile]) -> None:
    torch.manual_seed(0)
    layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(12))

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            torch._dynamo.graph_break()
            x = one_layer(layer, x)
        return x

    x = torch.ones(2, 4)
    expected = predict(x)
    answers: list[torch.Tensor] = []
    profile = record(lambda: answers.extend(predict(x) for _ in range(2)))
    assert [torch.equal(each, expected) for each in answers] == [True, True]  # each layer has run with its own weights
    (segment,) = profile.segments
    assert (segment.copies, segment.calls, segment.operations) == (12, 24, 2)
    assert [(each.kind, each.frame) for each in profile.lost] == [("loop", "predict")]


def test_sizes_are_one_family_and_each_is_a_model(record: Callable[..., Profile], tmp_path: Path) -> None:
    model = torch.nn.Linear(4, 3)

    @accelerate
    def predict(x: torch.Tensor, scale: int) -> torch.Tensor:
        y: torch.Tensor = model(x)
        return y.reshape(x.shape[0] * 3) * scale

    sizes = [2, 5, 7, 5, 2]
    inputs = [torch.randn(size, 4) for size in sizes]
    expected = [predict(x, 2) for x in inputs]
    found: list[torch.Tensor] = []
    profile = record(lambda: found.extend(predict(x, 2) for x in inputs), fidelity_inputs=2)
    assert all(map(torch.equal, found, expected))
    assert len({each.family_id for each in profile.segments}) == 1
    assert {each.inputs[0].shape[0]: (each.calls, each.batches) for each in profile.segments} == {
        2: (2, 2),
        5: (2, 2),
        7: (1, 1),
    }
    assert len(profile.variants) == 1
    (root,) = (tmp_path / "profiles").iterdir()
    assert len([*(root / "weights").iterdir()]) == 1
    for each in profile.segments:
        directory = root / "segments" / each.segment_id
        spec = ModelSpec(
            "segment",
            pickle_path=str(directory / "model.pkl"),
            batches_path=str(directory / "batches.pt"),
            weights=str(root / "weights" / f"{each.weights_digest}.pt"),
            batch_dim=None,
        )
        example = build_example(spec, 4)
        with torch.no_grad():
            answers = [example.model(*batch)[0] for batch in example.batches]
        known = [value for value, x in zip(expected, inputs, strict=True) if len(x) == each.inputs[0].shape[0]]
        assert [torch.equal(answer, value) for answer, value in zip(answers, known, strict=True)] == [True] * len(known)


def test_floats_that_change_do_not_make_a_graph_each(record: Callable[..., Profile]) -> None:
    @accelerate
    def predict(x: torch.Tensor, scale: float) -> torch.Tensor:
        return x.cos() * scale

    answers: list[torch.Tensor] = []
    profile = record(lambda: answers.extend(predict(torch.zeros(2), 0.1 * n) for n in range(1, 7)))
    assert [each.tolist() for each in answers] == [[pytest.approx(0.1 * n)] * 2 for n in range(1, 7)]
    assert profile.functions[0].discarded == {"compiled": 2}


def test_the_application_does_not_change(record: Callable[..., Profile]) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))

    @accelerate
    def predict(x: torch.Tensor) -> tuple[torch.Tensor, float]:
        y = model(x) + torch.rand(4)
        if y.sum() > 0:
            y = y * random.random()  # noqa: S311 - the generator that applications use
        return y, float(np.random.rand())  # noqa: NPY002 - the same

    def run() -> tuple[list[Any], Any, Any]:
        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002 - the same
        answers = [predict(torch.full((2, 4), float(number))) for number in range(20)]
        return answers, torch.get_rng_state().tolist(), (random.getstate(), str(np.random.get_state()))  # noqa: NPY002

    with torch.no_grad():
        before, generator, others = run()
    after: list[Any] = []
    profile = record(lambda: after.extend(run()))
    assert [(value.tolist(), number) for value, number in after[0]] == [(v.tolist(), n) for v, n in before]
    assert (after[1], after[2]) == (generator, others)
    assert [each.random for each in profile.segments if each.operations > 2]
    assert torch.is_grad_enabled()


def test_inputs_that_are_written_to_and_outputs_that_share_memory_are_told(record: Callable[..., Profile]) -> None:
    cache = torch.zeros(4, 6)

    @accelerate
    def step(x: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
        cache[1] = x
        return cache.t()

    answers: list[torch.Tensor] = []
    profile = record(lambda: answers.extend(step(torch.full((6,), float(n)), cache) for n in range(3)))
    assert cache[1].tolist() == [2.0] * 6
    assert answers[0].data_ptr() == cache.data_ptr()
    (segment,) = profile.segments
    assert sorted((each.shape, each.mutated) for each in segment.inputs) == [((4, 6), True), ((6,), False)]
    (output,) = segment.outputs
    place = [each.shape for each in segment.inputs].index((4, 6))
    assert (output.shape, output.stride, output.shares) == ((6, 4), (1, 6), place)
    assert segment.written == (place,)


def test_modules_methods_names_and_nested_functions(record: Callable[..., Profile]) -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(3.0))

        def forward(self, x: torch.Tensor, *, shift: int = 0) -> dict[str, torch.Tensor]:
            return {"out": alone(x) * self.scale + shift}

    model = accelerate(Scaled())
    assert isinstance(model, Scaled)
    answers: list[float] = []
    profile = record(lambda: answers.append(float(model(torch.zeros(1), shift=2)["out"])))
    assert answers == [5.0]
    assert [(each.name, each.calls) for each in profile.functions] == [("Scaled", 1)]
    assert [each.copies for each in profile.segments] == [1]


def test_settings_of_the_moment_are_part_of_a_segment(record: Callable[..., Profile]) -> None:
    linear = torch.nn.Linear(4, 4)

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = linear(x)
        return y

    def run() -> None:
        predict(torch.ones(2, 4))
        with torch.autocast("cpu", torch.bfloat16):
            predict(torch.ones(2, 4))

    profile = record(run)
    assert sorted(str(each.ambient.autocast) for each in profile.segments) == ["{'cpu': 'bfloat16'}", "{}"]
    assert not any(each.ambient.grad for each in profile.segments)
    with_gradients = record(run, no_grad=False)
    assert all(each.ambient.grad for each in with_gradients.segments)


@pytest.mark.parametrize(
    ("inputs", "kept"), [("real", [1.0, 2.0, 3.0]), ("zeros", [0.0, 0.0, 0.0]), ("permuted", None)]
)
def test_inputs_may_stay_secret(
    record: Callable[..., Profile], tmp_path: Path, inputs: str, kept: list[float] | None
) -> None:
    profile = record(lambda: alone(torch.tensor([1.0, 2.0, 3.0])), inputs=inputs)
    (path,) = tmp_path.glob(f"profiles/*/segments/{profile.segments[0].segment_id}/batches.pt")
    written = torch.load(path, weights_only=True)["tensors"][0][0].tolist()
    assert written == kept if kept else sorted(written) == [1.0, 2.0, 3.0]
    assert profile.inputs == inputs
