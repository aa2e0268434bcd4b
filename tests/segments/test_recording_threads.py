"""Calls in several threads, and sessions beside each other."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.support.recordings import ISOLATED, aside

from almaflow.errors import UsageError
from almaflow.segments.accelerate import accelerate

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records.profile import Profile

pytestmark = pytest.mark.slow


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
    enter = vars(torch._dynamo.eval_frame)["set_eval_frame_isolate_recompiles_id"]

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


def test_one_session_at_a_time_and_one_without_a_call_says_so(record: Callable[..., Profile]) -> None:
    def run() -> None:
        with pytest.raises(UsageError, match="is open already"):
            record(lambda: None)

    assert record(run).notes[0].startswith("no marked function was called")
