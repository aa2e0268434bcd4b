"""Concurrent calls: they are concurrent, their rate is right, and a fault in one thread ends them all."""

from __future__ import annotations

import gc
import sys
import threading
import time
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from almaflow.records.protocol import RoundRequest
from almaflow.worker.streams import take_concurrently

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from almaflow.worker.timing import Taken

PATIENCE_S = 20.0


class FakeTorch(ModuleType):
    """What the streams ask of PyTorch, by thread, so that a test need not import it."""

    def __init__(self) -> None:
        super().__init__("torch")
        self.threads: dict[str, int] = {}
        self.without_grad: set[str] = set()

    def set_num_threads(self, count: int) -> None:
        self.threads[threading.current_thread().name] = count

    def no_grad(self) -> AbstractContextManager[None]:
        from contextlib import contextmanager

        @contextmanager
        def entered() -> Iterator[None]:
            name = threading.current_thread().name
            self.without_grad.add(name)
            yield
            self.without_grad.discard(name)

        return entered()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTorch:
    made = FakeTorch()
    monkeypatch.setitem(sys.modules, "torch", made)
    return made


def take(
    call: Callable[[int], object], turn: RoundRequest, streams: int, synchronize: Callable[[], None] = lambda: None
) -> Taken:
    """The round, which must end: a thread that hangs is a failed test, not a hanging one."""
    taken: list[Any] = []

    def work() -> None:
        try:
            taken.append(take_concurrently(call, synchronize, turn, streams, threads=3))
        except BaseException as error:  # noqa: BLE001 - raised again where pytest sees it
            taken.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert taken, "it hangs"
    assert not [each for each in threading.enumerate() if each.name.startswith("stream-")]
    if isinstance(taken[0], BaseException):
        raise taken[0]
    found: Taken = taken[0]
    return found


def turn(min_calls: int = 1, min_time_s: float = 0.0, max_time_s: float = 10.0) -> RoundRequest:
    return RoundRequest(1, min_calls, min_time_s, max_time_s)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("streams", [2, 4])
def test_as_many_calls_as_streams_are_under_way_at_once(streams: int) -> None:
    inside = threading.Barrier(streams)
    seen: set[str] = set()

    def call(_index: int) -> None:
        if threading.current_thread().name not in seen:  # each one's first, which nobody passes alone
            seen.add(threading.current_thread().name)
            inside.wait(PATIENCE_S)
        time.sleep(0.001)

    assert len(take(call, turn(min_calls=8), streams).samples_ms) >= 8
    assert seen == {f"stream-{number}" for number in range(streams)}


@pytest.mark.usefixtures("fake")
def test_count_by_wall_time_is_the_rate_of_all_streams_together() -> None:
    taken = take(lambda _: time.sleep(0.02), turn(min_calls=60), streams=4)
    count = len(taken.samples_ms)
    assert count / taken.wall_s == pytest.approx(4 / 0.02, rel=0.25)
    assert min(taken.samples_ms) >= 20.0  # one call of one thread
    assert 60 <= count < 60 + 2 * 4  # who is in a call then ends it
    assert taken.wall_s <= sum(taken.samples_ms) / 1000 <= 4 * taken.wall_s + 1e-6


@pytest.mark.usefixtures("fake")
def test_the_minima_and_the_maximum_are_of_all_streams_together() -> None:
    by_time = take(lambda _: time.sleep(0.005), turn(min_time_s=0.2), streams=2)
    assert by_time.wall_s >= 0.19
    ended = take(lambda _: time.sleep(0.02), turn(min_calls=10_000, max_time_s=0.1), streams=2)
    assert len(ended.samples_ms) < 20
    assert take(lambda _: time.sleep(0.05), turn(max_time_s=0.0), streams=2).samples_ms


@pytest.mark.usefixtures("fake")
def test_each_stream_has_its_own_batches_and_a_first_call_that_is_not_timed() -> None:
    called: dict[str, list[int]] = {}

    def call(index: int) -> None:
        called.setdefault(threading.current_thread().name, []).append(index)
        time.sleep(0.005)

    taken = take(call, turn(min_calls=9), streams=3)
    assert sum(map(len, called.values())) == len(taken.samples_ms) + 3
    for number in range(3):
        first, *timed = called[f"stream-{number}"]
        assert first == number
        assert timed == [number + 3 * i for i in range(len(timed))]


@pytest.mark.usefixtures("fake")
def test_the_processor_time_is_that_of_the_timed_calls() -> None:
    begun: set[str] = set()

    def call(_index: int) -> None:
        name = threading.current_thread().name
        if name not in begun:  # what a runtime sets up for a new thread
            begun.add(name)
            until = time.thread_time() + 0.15
            while time.thread_time() < until:
                pass
        time.sleep(0.02)

    taken = take(call, turn(min_calls=10), streams=2)
    assert taken.cpu_s < 0.1


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(("where", "guilty"), [("first call", 1), ("first call", 0), ("timed call", 2)])
def test_what_a_call_raises_in_one_stream_is_raised_and_nobody_hangs(where: str, guilty: int) -> None:
    called: dict[str, int] = {}

    def call(_index: int) -> None:
        name = threading.current_thread().name
        called[name] = called.get(name, 0) + 1
        time.sleep(0.01)
        if name == f"stream-{guilty}" and called[name] == (1 if where == "first call" else 4):
            message = "this one"
            raise ArithmeticError(message)

    with pytest.raises(ArithmeticError, match="this one"):
        take(call, turn(min_calls=10_000, max_time_s=60.0), streams=3)
    assert gc.isenabled()


@pytest.mark.usefixtures("fake")
def test_what_every_stream_raises_is_raised_once() -> None:
    def call(_index: int) -> None:
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        take(call, turn(), streams=4)


def test_each_stream_has_its_threads_and_no_gradients_from_its_first_call_on(fake: FakeTorch) -> None:
    wrong: list[str] = []

    def call(_index: int) -> None:
        name = threading.current_thread().name
        if name not in fake.without_grad or fake.threads.get(name) != 3:
            wrong.append(name)
        time.sleep(0.001)

    take(call, turn(min_calls=10), streams=2)
    assert not wrong
    assert fake.threads == {"stream-0": 3, "stream-1": 3}


@pytest.mark.usefixtures("fake")
def test_the_garbage_collector_rests_meanwhile() -> None:
    seen: set[bool] = set()
    take(lambda _: seen.add(gc.isenabled()), turn(min_calls=10), streams=2)
    assert seen == {False}
    assert gc.isenabled()


@pytest.mark.usefixtures("fake")
def test_each_call_is_waited_for_before_the_clock_is_read() -> None:
    taken = take(lambda _: None, turn(min_calls=6), streams=2, synchronize=lambda: time.sleep(0.01))
    assert min(taken.samples_ms) >= 10.0


@pytest.mark.slow
@pytest.mark.alma
def test_real_streams_compute_without_gradients_on_as_many_threads_as_asked() -> None:
    import torch

    before = torch.get_num_threads()
    model = torch.nn.Linear(64, 64)
    batch = torch.ones(8, 64)
    seen: set[tuple[bool, bool, int]] = set()

    def call(_index: int) -> None:
        seen.add((torch.is_grad_enabled(), model(batch).requires_grad, torch.get_num_threads()))

    taken = take_concurrently(call, lambda: None, turn(min_calls=50), streams=2, threads=1)
    assert len(taken.samples_ms) >= 50
    assert seen == {(False, False, 1)}
    assert torch.is_grad_enabled()
    assert torch.get_num_threads() == before
