"""What a worker does: settle, prepare, feed, check and take rounds in this process; then as forked workers do it."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests import trouble
from tests.made_jobs import planned

from almaflow.errors import UsageError
from almaflow.measure.events import Report, Turn
from almaflow.measure.failures import FellBackError, WrongOutputError
from almaflow.measure.launcher import Launcher
from almaflow.measure.preload import modules_for
from almaflow.records import (
    HardwareSpec,
    InputSpec,
    Measurement,
    MeasureSpec,
    ModelSpec,
    Prepared,
    WorkerResult,
    WorkerTask,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch
    from torch import nn

    from almaflow.conversions.adapter import Converted

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


@dataclass
class Events:
    """Hears what a worker tells its parent."""

    told: list[tuple[str, Report | None]] = field(default_factory=list)

    def enter(self, phase: str, report: Report | None = None) -> None:
        self.told.append((phase, report))

    @property
    def phases(self) -> list[str]:
        return [phase for phase, _ in self.told]

    @property
    def reports(self) -> list[Report]:
        return [report for _, report in self.told if report]


@dataclass
class Turns:
    """Asks for so many rounds, then for the end."""

    left: int = 0
    asked: int = 0

    def next(self) -> Turn | None:
        self.asked += 1
        return Turn(self.asked, 3, 0.0, 5.0) if self.asked <= self.left else None


def do_prepare(task: WorkerTask, events: Events | None = None, turns: Turns | None = None) -> Prepared:
    from almaflow.measure.prepare import prepare

    kept: list[Prepared] = []
    prepare(task, events or Events(), turns or Turns(), kept.append)  # type: ignore[arg-type]
    (prepared,) = kept
    return prepared


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

    task = make_task(tmp_path, fidelity_inputs=3)
    prepared = do_prepare(task)
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
    deaf = replace(LINEAR, target="torch.nn.Threshold", kwargs={"threshold": 1e9, "value": 4.0})
    (note,) = do_prepare(make_task(tmp_path, deaf)).notes
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
    with pytest.raises(
        UsageError, match=r"the model does not run on inputs of shape .*; change model\.inputs"
    ) as caught:
        do_prepare(make_task(tmp_path, model))
    assert "\n" not in str(caught.value)


def test_the_prepared_worker_serves_rounds_of_eager_calls_when_it_is_asked(tmp_path: Path) -> None:
    events, turns = Events(), Turns(left=3)
    do_prepare(make_task(tmp_path, warmup_calls=1, warmup_time_s=0.0), events, turns)
    assert events.phases == ["ready", "warm-up", *["measure", "ready"] * 3]
    assert events.told[0] == ("ready", None)
    assert len(events.reports) == 3
    for report in events.reports:
        assert report.count == 3
        assert 0 < report.median_ms <= 1000 * report.wall_s
    assert turns.asked == 4


def test_a_prepared_worker_that_nobody_asks_does_not_warm_up(tmp_path: Path) -> None:
    events = Events()
    do_prepare(make_task(tmp_path), events)
    assert events.phases == ["ready"]


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
    """A converted model as the check and the rounds see it."""

    repairs = ()

    def __init__(self, answers: list[object], **evidence: Any) -> None:
        from almaflow.conversions.evidence import Evidence

        self._answers = iter(answers)
        self._evidence = Evidence(**evidence)

    def call(self, _batch: object) -> object:
        return next(self._answers)

    def model_mb(self) -> float:
        return 0.5

    def start_counting(self) -> None:
        pass

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
def test_the_check_gives_what_it_found_and_what_is_wrong_with_it(
    tmp_path: Path, answer: str | None, evidence: dict[str, Any], error: type[Exception] | None, message: str
) -> None:
    import torch

    from almaflow.measure.steps import _check, _Inputs

    batches: list[tuple[torch.Tensor, ...]] = [(torch.randn(2, 6),), (torch.randn(2, 6),)]
    references = [[torch.randn(2, 3)], [torch.randn(2, 3)]]
    answers: list[object] = [answer, answer]
    if answer in ("right", "negated"):
        answers = [reference[0] if answer == "right" else -reference[0] for reference in references]
    before = trouble.measurement((1.0,), None)
    conversion: Any = Conversion(answers, **evidence)
    found, fault = _check(conversion, before, _Inputs(batches, planned(), make_task(tmp_path)), references, planned())
    if error is None:
        assert fault is None
    else:
        assert isinstance(fault, error)
        assert message in str(fault)
    if "without" in message:
        assert found == before
        return
    assert found.samples_ms == (1.0,)
    assert found.fidelity is not None
    assert found.fidelity.ok == (answer == "right")
    assert found.device_actual == evidence.get("device", "cpu")
    assert found.runtime == evidence.get("runtime", {})
    assert found.recompiles == evidence.get("recompiles")


@dataclass
class Done:
    """What a conversion in this process told and kept, and what it raised."""

    events: Events
    turns: Turns
    kept: list[Measurement]
    error: Exception | None


def convert(
    tmp_path: Path,
    turns: int = 0,
    changed: Callable[[Converted], Converted] = lambda converted: converted,
    **measure: Any,
) -> Done:
    """Prepare and run one eager conversion of ``LINEAR``, changed by the test."""
    import time

    from almaflow.measure import steps

    settings = {"min_samples": 27, "min_time_s": 0.0, "warmup_calls": 1, "warmup_time_s": 0.0, **measure}
    task = make_task(tmp_path, **settings)
    digest = do_prepare(task).weights_digest
    done = Done(Events(), Turns(turns), [], None)
    task = replace(task, conversion=planned(), weights_digest=digest, replicate=5)
    build = vars(steps)["build"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(steps, "build", lambda *given: changed(build(*given)))
        try:
            steps.run_conversion(task, done.events, done.turns, time.perf_counter(), done.kept.append)  # type: ignore[arg-type]
        except (FellBackError, WrongOutputError) as error:
            done.error = error
    return done


BEFORE_ROUNDS = ["convert", "first call", "check", "warm-up", "measure"]


@pytest.mark.parametrize("streams", [1, 2])
def test_a_conversion_takes_a_round_by_itself_and_then_those_that_it_is_asked_for(tmp_path: Path, streams: int) -> None:
    done = convert(tmp_path, turns=2, streams=streams)
    assert done.error is None
    assert done.events.phases[:10] == [*BEFORE_ROUNDS, "ready", *["measure", "ready"] * 2]
    assert done.turns.asked == 3
    checked, warm, *_, last = done.kept
    assert checked.fidelity is not None
    assert checked.fidelity.ok
    assert (checked.samples_ms, checked.rounds) == ((), ())
    assert [len(each.rounds) for each in done.kept[:3]] == [0, 1, 2]
    assert [each.index for each in last.rounds] == [0, 1, 2]
    assert {each.replicate for each in last.rounds} == {5}
    assert warm.samples_ms == last.samples_ms[: warm.rounds[0].count]
    assert sum(each.count for each in last.rounds) == len(last.samples_ms)
    reports = done.events.reports
    assert [(report.count, report.wall_s) for report in reports] == [(each.count, each.wall_s) for each in last.rounds]
    if streams == 1:
        assert [each.count for each in last.rounds] == [3, 3, 3]
    assert all(each.control_ms > 0 and each.wall_s > 0 and each.started_at > 1e9 for each in last.rounds)
    assert last.warmup_calls >= 10
    assert checked.total_s < warm.total_s < last.total_s


def test_what_is_kept_after_many_rounds_is_all_of_them(tmp_path: Path) -> None:
    done = convert(tmp_path, turns=12)
    counts = [len(each.rounds) for each in done.kept]
    assert counts == sorted(counts)
    assert counts[-1] == 13
    assert [each.index for each in done.kept[-1].rounds] == list(range(13))
    assert done.kept[-1].device_samples_ms == ()


@pytest.mark.parametrize(
    ("spoil", "error", "checked"),
    [
        (lambda c: replace(c, forward=lambda x: -c.forward(x)), WrongOutputError, True),
        (lambda c: replace(c, forward=lambda _: "text"), WrongOutputError, False),
    ],
    ids=["another answer", "no tensor"],
)
def test_a_wrong_answer_is_timed_by_one_round_and_then_raised(
    tmp_path: Path, spoil: Callable[[Converted], Converted], error: type[Exception], checked: bool
) -> None:
    done = convert(tmp_path, 5, spoil)
    assert isinstance(done.error, error)
    assert "ready" not in done.events.phases
    assert done.events.phases == [*BEFORE_ROUNDS, "check"]  # it is said where it failed
    assert done.turns.asked == 0
    last = done.kept[-1]
    assert len(last.samples_ms) == last.rounds[0].count == 3
    assert len(last.rounds) == 1
    assert (last.fidelity is not None) == checked
    assert not (last.fidelity and last.fidelity.ok)


def test_a_runtime_that_falls_back_before_or_while_it_is_timed_is_found_out(tmp_path: Path) -> None:
    def made(after: int) -> Callable[[Converted], Any]:
        def change(converted: Converted) -> Any:
            calls: list[object] = []

            class Falling(Conversion):
                def __init__(self) -> None:
                    super().__init__([])

                def call(self, batch: Any) -> object:
                    calls.append(batch)
                    return converted.call(batch)

                def evidence(self) -> object:
                    from almaflow.conversions.evidence import Evidence

                    return Evidence(fell_back="eager ran it" if len(calls) > after else None)

            return Falling()

        return change

    done = convert(tmp_path, 4, made(after=0))
    assert isinstance(done.error, FellBackError)
    assert len(done.kept[-1].rounds) == 1
    assert done.turns.asked == 0
    done = convert(tmp_path, 4, made(after=20))
    assert isinstance(done.error, FellBackError)
    assert len(done.kept[-1].rounds) == 5  # all that it was asked for, for diagnosis
    assert done.events.phases[-1] == "check"


def test_a_model_with_other_weights_each_time_is_a_wrong_output_before_anything_is_converted(tmp_path: Path) -> None:
    from almaflow.measure.steps import run_conversion

    task = make_task(tmp_path)
    do_prepare(task)
    events = Events()
    with pytest.raises(WrongOutputError, match="seed it"):
        run_conversion(
            replace(task, conversion=planned(), weights_digest="other"),
            events,  # type: ignore[arg-type]
            Turns(),  # type: ignore[arg-type]
            0.0,
            lambda _: None,
        )
    assert events.phases == []


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


ROOT = Path(__file__).parent.parent
CONVOLUTIONS = ModelSpec(
    "convolutions", target="tests.adapter_models.Convolutions", inputs=(InputSpec((3, 224, 224)),), batch_size=4
)
CONVERSIONS = {
    1: ("EAGER", "ONNX_CPU", "COMPILE_OPENVINO"),
    2: ("EAGER", "ONNX_CPU", "COMPILE_OPENVINO", "COMPILE_INDUCTOR_DEFAULT"),
}
BUSY_ENOUGH = 1.3
"""Processors that two threads keep busy in some round, also beside other programs."""

LEAST_TURNS, MOST_TURNS = 4, 40


@pytest.fixture(scope="module", params=CONVERSIONS, ids=lambda threads: f"{threads} threads")
def forked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, dict[str, WorkerResult]]]:
    """Each conversion in a forked worker of the real launcher, with so many threads."""
    threads = request.param
    if threads > len(os.sched_getaffinity(0)):
        pytest.skip("needs as many processors as threads")
    root = tmp_path_factory.mktemp(f"threads-{threads}")
    hardware = HardwareSpec("here", "cpu", threads=threads)
    plan = [planned(name) for name in CONVERSIONS[threads]]
    task = WorkerTask(
        model=CONVOLUTIONS,
        hardware=hardware,
        measure=MeasureSpec(min_samples=9, min_time_s=0.1, warmup_calls=3, warmup_time_s=0.1, time_budget_s=120.0),
        conversion=None,
        work_dir=str(root / "prepare"),
        reference_path=str(root / "reference.pt"),
        sys_path=(str(ROOT), *sys.path),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("ALMAFLOW_HOME", str(root / "home"))
        with Launcher(hardware, root / "server.log", modules_for(CONVOLUTIONS, plan)) as launcher:
            prepared = _run(launcher, task, turns=0).prepared
            assert prepared is not None
            task = replace(task, weights_digest=prepared.weights_digest)
            yield (
                threads,
                {
                    each.name: _run(
                        launcher, replace(task, conversion=each, work_dir=str(root / each.name)), turns=MOST_TURNS
                    )
                    for each in plan
                },
            )


def _run(launcher: Launcher, task: WorkerTask, turns: int) -> WorkerResult:
    """Its result after so many turns; after more where other programs keep it from its processors."""
    Path(task.work_dir).mkdir()
    with closing(launcher.start(task)) as worker:
        assert worker.until_ready(), worker.finish()
        for index in range(1, turns + 1):
            assert worker.turn(Turn(index, 3, 0.15, 5.0)), worker.finish()
            if index >= LEAST_TURNS and _busy(worker.left().result) >= BUSY_ENOUGH * task.hardware.threads / 2:
                break
        return worker.finish().result


def _busy(result: WorkerResult) -> float:
    """How many processors it kept busy in the best of its rounds."""
    return max(each.cpu_s / each.wall_s for each in result.measurement.rounds) if result.measurement else 0.0


def test_forked_workers_answer_as_eager_does(forked: tuple[int, dict[str, WorkerResult]]) -> None:
    threads, results = forked
    for name, result in results.items():
        assert result.failure is None, name
        measured = result.measurement
        assert measured is not None
        assert measured.fidelity is not None
        assert measured.fidelity.ok, name
        assert measured.fidelity.sqnr_db > 90, name
        assert measured.threads["torch"] == threads
        assert [each.index for each in measured.rounds] == list(range(len(measured.rounds)))
        assert len(measured.rounds) > LEAST_TURNS


def test_a_forked_worker_keeps_as_many_processors_busy_as_it_has_threads(
    forked: tuple[int, dict[str, WorkerResult]],
) -> None:
    threads, results = forked
    for name, result in results.items():
        assert result.measurement is not None
        rounds = result.measurement.rounds
        on_average = sum(each.cpu_s for each in rounds) / sum(each.wall_s for each in rounds)
        assert on_average <= 1.15 * threads, name
        assert threads == 1 or _busy(result) >= BUSY_ENOUGH, f"{name}: {_busy(result):.2f}"
