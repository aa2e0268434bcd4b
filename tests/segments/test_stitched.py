from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from almaflow.conversions.catalogue.plan import plan
from almaflow.errors import UsageError
from almaflow.segments import stitched as stitching
from almaflow.segments.accelerate import ACTIVE, accelerate
from almaflow.segments.repeat import repeat
from almaflow.segments.session import ProfilingSession
from almaflow.segments.stitched import Conversions, Stitched

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.segments.repeat import Repeated

pytestmark = pytest.mark.slow


def record(tmp_path: Path, run: Callable[[], object], **settings: Any) -> ProfilingSession:
    session = ProfilingSession((), home=tmp_path, **settings)
    with session:
        run()
    return session


def in_place(session: ProfilingSession, *names: str) -> tuple[Repeated, Conversions, list[str]]:
    """Repeat the calls of a session with the segments in these conversions, in the order in which they first ran."""
    assert session.profile is not None
    notes: list[str] = []
    order = list(dict.fromkeys(name for call in session.calls.ended() for name in call.sequence))
    plans = {
        name: plan([how], 1, "cpu", allow_device_override=False)[0] for name, how in zip(order, names, strict=True)
    }
    conversions = Conversions(plans, notes.append)
    ((function, given),) = session.calls.newest.items()
    with Stitched(conversions, no_grad=session.no_grad, recompile_limit=64, note=notes.append) as stitched:
        repeated = repeat(function, tuple(given), stitched, 3)
    return repeated, conversions, notes


@pytest.mark.parametrize("names", [("JIT_TRACE", "ONNX_CPU"), ("OPENVINO", "OPENVINO")])
def test_conversions_run_in_place_and_answer_as_eager(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "application").mkdir()
    monkeypatch.chdir(tmp_path / "application")
    torch.manual_seed(0)
    first, second = torch.nn.Linear(16, 32), torch.nn.Linear(32, 4)
    before = {name: value.clone() for name, value in first.state_dict().items()}

    @accelerate
    def predict(x: torch.Tensor) -> dict[str, Any]:
        hidden = torch.relu(first(x))
        total = hidden.sum().item()  # the graph ends here
        return {"scores": second(hidden * 2), "total": total, "rows": len(x)}

    session = record(tmp_path, lambda: [predict(torch.randn(3, 16)) for _ in range(4)])
    repeated, conversions, notes = in_place(session, *names)
    assert notes == []
    assert capsys.readouterr().out == ""  # exporters print their steps
    assert sorted(conversions.ran.values()) == sorted(names)
    assert not [*Path().iterdir()]  # what runtimes write is not left to the application
    assert [call.sequence for call in repeated.calls] == [call.sequence for call in session.calls.ended()]
    assert repeated.agreement.reason is None
    assert repeated.agreement.fidelity is not None
    assert 80 < repeated.agreement.fidelity.sqnr_db <= 200
    assert len(repeated.rounds_ms) == len(repeated.eager_rounds_ms) == 3
    assert 0 < repeated.python_ms < max(repeated.rounds_ms)
    assert all(torch.equal(first.state_dict()[name], value) for name, value in before.items())


def test_layers_that_are_alike_run_with_their_own_weights_and_answers_are_not_overwritten(tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(8, 8) for _ in range(3)]

    def one_layer(layer: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(layer(x))

    @accelerate
    def predict(x: torch.Tensor) -> list[torch.Tensor]:
        found = [x]
        for layer in layers:
            torch._dynamo.graph_break()
            found.append(one_layer(layer, found[-1]))
        return found[1:]

    session = record(tmp_path, lambda: [predict(torch.randn(2, 8)) for _ in range(3)])
    assert session.profile is not None
    assert [each.copies for each in session.profile.segments] == [3]
    repeated, conversions, _ = in_place(session, "ONNX_CPU")
    assert set(conversions.ran.values()) == {"ONNX_CPU"}
    assert repeated.agreement.reason is None


@pytest.mark.parametrize("name", ["ONNX_CPU", "OPENVINO", "JIT_TRACE"])
def test_what_a_segment_writes_to_its_inputs_is_written_in_place_too(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(6, 6)
    cache, other = torch.zeros(4, 6), torch.ones(3)

    @accelerate
    def step(x: torch.Tensor, cache: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        cache.index_copy_(0, torch.tensor([1]), layer(x)[None])
        other.add_(0.5)
        return cache.sum(0) + other.sum()

    given = [torch.randn(6) for _ in range(3)]
    session = record(tmp_path, lambda: [step(each, cache, other) for each in given])
    assert session.profile is not None
    (segment,) = session.profile.segments
    assert sorted(segment.inputs[index].shape for index in segment.written) == [(3,), (4, 6)]
    plans = {segment.segment_id: plan([name], 1, "cpu", allow_device_override=False)[0]}
    notes: list[str] = []
    conversions = Conversions(plans, notes.append, {segment.segment_id: segment.written})
    ((marked, _),) = session.calls.newest.items()
    with Stitched(conversions, no_grad=True, recompile_limit=64, note=notes.append) as stitched:
        before = other.clone()
        answer = stitched.call(marked, (given[0], cache, other), {})
    assert (notes, conversions.ran) == ([], {segment.segment_id: name})
    with torch.no_grad():
        expected = layer(given[0])
    assert torch.allclose(cache[1], expected, atol=1e-5)
    assert torch.equal(other, before + 0.5)  # written once
    assert torch.allclose(answer, expected + other.sum(), atol=1e-5)


def test_a_wrong_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(8, 8)

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = layer(x)
        return out

    session = record(tmp_path, lambda: [predict(torch.randn(2, 8)) for _ in range(3)])

    def wrong(*_: object) -> Callable[..., Any]:
        return lambda *_: (torch.randn(2, 8),)

    monkeypatch.setattr(stitching, "converted_graph", wrong)
    repeated, *_ = in_place(session, "ONNX_CPU")
    assert repeated.agreement.reason is not None


def test_what_cannot_be_built_here_runs_eagerly_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        return x.sin() + 1

    session = record(tmp_path, lambda: [predict(torch.randn(2, 8)) for _ in range(2)])

    def refuse(*_: object) -> None:
        message = "no such operator"
        raise RuntimeError(message)

    monkeypatch.setattr(stitching, "converted_graph", refuse)
    repeated, conversions, notes = in_place(session, "ONNX_CPU")
    (segment,) = conversions.ran
    assert conversions.ran == {segment: "EAGER"}
    assert notes == [f"segment {segment} runs eagerly: ONNX_CPU cannot be built here (RuntimeError: no such operator)"]
    assert repeated.agreement.reason is None


def test_draws_are_alike_and_the_applications_generators_go_on_as_they_were(tmp_path: Path) -> None:
    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(4)

    session = record(tmp_path, lambda: [predict(torch.ones(4)) for _ in range(2)])
    before = torch.get_rng_state()
    repeated, *_ = in_place(session, "EAGER")
    assert torch.equal(torch.get_rng_state(), before)
    assert repeated.agreement.reason is None


def test_an_exception_of_the_application_is_passed_on_and_ends_it(tmp_path: Path) -> None:
    calls: list[int] = []

    @accelerate
    def predict(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 3:
            message = "no more"
            raise ValueError(message)
        return x + 1

    session = record(tmp_path, lambda: [predict(torch.ones(4)) for _ in range(3)])
    with pytest.raises(ValueError, match="no more"):
        in_place(session, "EAGER")
    assert ACTIVE.session is None


def test_one_session_at_a_time(tmp_path: Path) -> None:
    with ProfilingSession((), home=tmp_path):
        stitched = Stitched(Conversions({}, print), no_grad=True, recompile_limit=8, note=print)
        with pytest.raises(UsageError, match="open already"):
            stitched.__enter__()
