from __future__ import annotations

import errno
import logging
import random
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from almaflow.errors import UsageError
from almaflow.models.build import build_example
from almaflow.records import ModelSpec
from almaflow.segments.accelerate import accelerate
from almaflow.segments.session import ProfilingSession

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records.profile import Profile

pytestmark = pytest.mark.slow

ISOLATED = hasattr(torch._dynamo.eval_frame, "_get_total_cache_entry_count")
"""Whether this PyTorch tells the graphs of a session from the application's own."""


def aside(function: Callable[..., None]) -> Callable[..., None]:
    """Keep a function out of graphs, so that each call of it ends one."""
    made: Callable[..., None] = torch._dynamo.disable(function)  # type: ignore[no-untyped-call]
    return made


@pytest.fixture(name="record")
def record_fixture(tmp_path: Path) -> Callable[..., Profile]:
    def record(run: Callable[[], object], **settings: Any) -> Profile:
        session = ProfilingSession((), home=tmp_path, **settings)
        with session:
            run()
        assert session.profile is not None
        assert session.files.read() == session.profile
        assert sorted(session.files.calls(), key=lambda call: call.number) == calls_of(session)
        return session.profile

    return record


def calls_of(session: ProfilingSession) -> list[Any]:
    return session.calls.ended()


@accelerate
def alone(x: torch.Tensor) -> torch.Tensor:
    return x.sin() + 1


def one_layer(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    return torch.relu(layer(x))


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


def test_four_threads_are_recorded_and_their_python_does_not_count(record: Callable[..., Profile]) -> None:
    gate = threading.Barrier(4)

    @aside
    def meet() -> None:
        gate.wait()

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        meet()
        return x * 2

    def work() -> None:
        for _ in range(25):
            predict(torch.ones(3))

    def run() -> None:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    profile = record(run)
    assert (profile.functions[0].calls, profile.functions[0].uncaptured) == (100, ())
    assert sum(profile.functions[0].discarded.values()) == 100
    assert len(profile.segments) == 2
    assert [each.calls for each in profile.segments] == [100, 100]


def test_a_loop_that_breaks_is_named_with_what_to_do(record: Callable[..., Profile]) -> None:
    @accelerate
    def search(x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = x + 1
            torch._dynamo.graph_break()
        return x

    profile = record(lambda: [search(torch.ones(3)) for _ in range(2)])
    assert profile.functions[0].uncaptured == (0, 1)
    (lost,) = profile.lost
    assert (lost.kind, lost.frame, lost.first_call) == ("loop", "search", 0)
    assert lost.file == __file__
    assert lost.break_line is not None
    assert lost.break_line > lost.line
    assert lost.advice.startswith(f"the loop in search breaks in {Path(__file__).name}:{lost.break_line}: move ")
    assert profile.notes == (
        f"{profile.functions[0].name}: no graph in any of its calls; decorate the function that runs the model",
    )


def test_more_kinds_of_inputs_than_pytorch_follows_are_named(record: Callable[..., Profile]) -> None:
    @accelerate
    def total(parts: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(parts).sum()

    profile = record(lambda: [total([torch.ones(2)] * length) for length in range(1, 101)], recompile_limit=3)
    (lost,) = profile.lost
    assert (lost.kind, lost.frame, lost.first_call) == ("limit", "total", 3)
    assert "dynamic=True" in lost.advice
    assert profile.functions[0].uncaptured == tuple(range(3, 100))
    assert torch._dynamo.config.recompile_limit != 3


def test_an_exception_of_the_application_is_passed_on_and_the_rest_is_kept(tmp_path: Path) -> None:
    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        if len(x) == 4:
            message = "four"
            raise KeyError(message)
        return y @ torch.ones(3)

    session = ProfilingSession((), home=tmp_path, measure=lambda *_: pytest.fail("measured"))

    def application() -> None:
        with session:
            predict(torch.ones(3))
            with pytest.raises(KeyError, match="four"):
                predict(torch.ones(4))
            predict(torch.ones(3))
            predict(torch.ones(5))

    with pytest.raises(RuntimeError, match=r"size mismatch|inconsistent tensor size"):
        application()
    profile = session.files.read()
    assert [call.raised for call in calls_of(session)] == [None, "KeyError", None, "RuntimeError"]
    assert profile.error is not None
    assert profile.error.startswith("RuntimeError: ")
    assert profile.segments


def test_a_full_disk_ends_the_keeping_and_not_the_application(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    answers: list[torch.Tensor] = []
    monkeypatch.setattr(torch, "save", full)
    profile = record(lambda: answers.extend(alone(torch.zeros(2)) for _ in range(3)))
    assert [each.tolist() for each in answers] == [[1.0, 1.0]] * 3
    (segment,) = profile.segments
    assert (segment.calls, segment.batches) == (3, 0)
    (note,) = profile.notes
    assert note.endswith("No space left on device: what is recorded from here on is not kept")


def test_a_graph_that_cannot_be_measured_apart_runs_and_says_why(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    @accelerate
    def length(x: torch.Tensor) -> torch.Tensor:
        return torch.zeros(3) + x.dim()

    def broken(*_: object) -> None:
        message = "no such graph"
        raise LookupError(message)

    answers: list[torch.Tensor] = []
    (segment,) = record(lambda: answers.append(length(torch.zeros(2)))).segments
    assert (segment.unmeasurable, segment.batches) == ("it takes no tensor", 0)
    monkeypatch.setattr("almaflow.segments.recorder.standalone", broken)
    (segment,) = record(lambda: answers.append(length(torch.zeros(2)))).segments
    assert segment.unmeasurable == "it could not be recorded (LookupError: no such graph)"
    assert [each.tolist() for each in answers] == [[1.0] * 3] * 2


def test_what_the_application_compiled_itself_stays_compiled(record: Callable[..., Profile]) -> None:
    graphs: list[object] = []

    def backend(module: torch.fx.GraphModule, _: object) -> Any:
        graphs.append(module)
        return module.forward

    def predict(x: torch.Tensor) -> torch.Tensor:
        return x.sin()

    compiled = torch.compile(predict, backend=backend)
    compiled(torch.ones(3))
    profile = record(lambda: [accelerate(compiled)(torch.ones(3)), accelerate(predict)(torch.ones(3))])
    compiled(torch.ones(3))
    assert len(graphs) == (1 if ISOLATED else 2)
    assert [each.calls for each in profile.segments] == [2]
    assert "torch.compile around it is left out" in profile.notes[0]


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


def test_a_call_that_outlives_the_session_is_left_out_and_ends_well(record: Callable[..., Profile]) -> None:
    begun, ended = threading.Event(), threading.Event()

    @aside
    def wait() -> None:
        begun.set()
        ended.wait()

    answers: list[float] = []

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        x = x + 1
        wait()
        return x * 2

    thread = threading.Thread(target=lambda: answers.append(float(predict(torch.zeros(1)))))

    def run() -> None:
        thread.start()
        begun.wait()

    profile = record(run)
    ended.set()
    thread.join()
    assert answers == [2.0]
    assert profile.functions[0].calls == 0
    assert profile.notes == ("calls that still ran at the session's end are left out (1): wait for their threads",)


def test_threads_whose_first_calls_race_share_what_pytorch_found(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    optimize = torch._dynamo.optimize

    def slowly(*args: Any, **settings: Any) -> Any:
        made.append(args[0])
        time.sleep(0.1)
        return optimize(*args, **settings)

    def predict(x: torch.Tensor) -> torch.Tensor:
        return x.tan()

    marked = accelerate(predict)

    def run() -> None:
        made.clear()
        threads = [threading.Thread(target=marked, args=(torch.ones(2),)) for _ in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()

    monkeypatch.setattr(torch._dynamo, "optimize", slowly)
    assert record(run).functions[0].calls == 3
    assert len(made) == 1
    if ISOLATED:
        assert torch._dynamo.eval_frame._get_total_cache_entry_count(predict.__code__) == 0


@pytest.mark.skipif(not ISOLATED, reason="this PyTorch has one region for all graphs")
def test_graphs_that_pytorch_put_in_the_region_of_an_earlier_session_are_freed(
    record: Callable[..., Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier: Any = torch._dynamo.optimize("eager", isolate_recompiles=True)(lambda x: x)
    enter = torch._dynamo.eval_frame.set_eval_frame_isolate_recompiles_id

    def predict(x: torch.Tensor) -> torch.Tensor:
        return x.tan()

    def run() -> None:
        # What a race of two threads does: the second one's region is the first one's when its graph is kept.
        monkeypatch.setattr(
            torch._dynamo.eval_frame,
            "set_eval_frame_isolate_recompiles_id",
            lambda _: enter(earlier._isolate_recompiles_id),
        )
        accelerate(predict)(torch.ones(2))
        monkeypatch.undo()
        assert torch._dynamo.eval_frame._get_total_cache_entry_count(predict.__code__) == 1

    before = enter(-1)
    record(run)
    enter(before)
    assert torch._dynamo.eval_frame._get_total_cache_entry_count(predict.__code__) == 0


@pytest.mark.parametrize(("code", "error"), [(None, None), (0, None), (3, "SystemExit: 3"), ("no", "SystemExit: no")])
def test_an_application_that_exits_well_is_measured(tmp_path: Path, code: Any, error: str | None) -> None:
    measured: list[Path] = []
    session = ProfilingSession((), home=tmp_path, measure=lambda root, _: measured.append(root))

    def application() -> None:
        with session:
            alone(torch.ones(2))
            raise SystemExit(code)

    with pytest.raises(SystemExit):
        application()
    assert session.files.read().error == error
    assert len(measured) == (error is None)


def test_what_pytorch_warns_of_during_recording_is_told_by_the_report_alone(record: Callable[..., Profile]) -> None:
    from torch._dynamo.variables import tensor

    heard: list[str] = []
    handler = logging.Handler()
    handler.addFilter(lambda told: heard.append(told.getMessage()))  # type: ignore[arg-type,return-value]
    warns: Any = tensor.TensorVariable._warn_capture_scalar_outputs
    warns.cache_clear()  # it warns once in a process
    tensor.log.addHandler(handler)
    try:
        profile = record(lambda: accelerate(lambda x: x * x.sum().item())(torch.ones(2)))
        assert heard == []
        assert len([each for each in profile.segments if each.break_reason]) == 1
        tensor.log.warning("another")
        assert heard == ["another"]
    finally:
        tensor.log.removeHandler(handler)


def test_one_session_at_a_time_and_one_without_a_call_says_so(record: Callable[..., Profile]) -> None:
    def run() -> None:
        with pytest.raises(UsageError, match="is open already"):
            record(lambda: None)

    assert record(run).notes[0].startswith("no marked function was called")
