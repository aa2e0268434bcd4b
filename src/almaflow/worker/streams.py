"""Times concurrent calls, as a server makes them, for the model's throughput under load."""

from __future__ import annotations

import threading
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING

from almaflow.worker.timing import Taken, no_garbage_collection, nothing

if TYPE_CHECKING:
    from collections.abc import Callable

    from almaflow.records.protocol import RoundRequest


def take_concurrently(  # noqa: PLR0913, PLR0917 - what is called, how long, and by how many threads
    call: Callable[[int], object],
    synchronize: Callable[[], None],
    turn: RoundRequest,
    streams: int,
    threads: int,
    prepare: Callable[[int], None] = nothing,
) -> Taken:
    """Time the calls of ``streams`` concurrent threads, until all together have reached the turn's minima.

    A sample is one call of one thread, waiting for others included; ``wall_s`` goes from the first start to the last
    end, so that count / ``wall_s`` is the rate of calls.

    Args:
        call: One forward call on the i-th batch, which several threads may make at once.
        synchronize: Waits for the device.
        turn: The minima and the maximum of all threads together.
        streams: The number of threads that call.
        threads: The number of threads that PyTorch may use inside each call.
        prepare: Called with the number of each call before it, in its thread; outside of the sample, but within
            ``wall_s``.

    Raises:
        Exception: a call raised it, in whichever thread.
    """
    import torch

    samples: list[list[tuple[int, int]]] = [[] for _ in range(streams)]
    errors: list[BaseException] = []
    minimum_ns, maximum_ns = int(turn.min_time_s * 1e9), int(turn.max_time_s * 1e9)
    cpu_ns: list[int] = []
    start_together = threading.Barrier(streams, lambda: cpu_ns.append(process_time_ns()))
    stop = threading.Event()

    def stream(number: int) -> None:
        own_samples = samples[number]
        try:
            # Thread count and no_grad are settings of a thread, and a new thread starts with the defaults.
            torch.set_num_threads(threads)
            with torch.no_grad():
                prepare(number)
                call(number)  # untimed: runtimes set things up for a new thread
                synchronize()
                start_together.wait()
                begin = perf_counter_ns()
                while not stop.is_set():
                    index = number + streams * len(own_samples)
                    prepare(index)
                    if prepare is not nothing:
                        synchronize()
                    started = perf_counter_ns()
                    call(index)
                    synchronize()
                    ended = perf_counter_ns()
                    own_samples.append((started, ended))
                    elapsed = ended - begin
                    enough = sum(map(len, samples)) >= turn.min_calls and elapsed >= minimum_ns
                    if elapsed >= maximum_ns or enough:
                        stop.set()
        except BaseException as error:  # noqa: BLE001 - raised again where it can be seen
            errors.append(error)
            stop.set()
            start_together.abort()

    workers = [threading.Thread(target=stream, args=(number,), name=f"stream-{number}") for number in range(streams)]
    with no_garbage_collection():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        cpu_ns.append(process_time_ns())
    if errors:
        raise next((error for error in errors if not isinstance(error, threading.BrokenBarrierError)), errors[0])
    calls = sorted((pair for pairs in samples for pair in pairs), key=lambda pair: pair[1])
    wall_ns = calls[-1][1] - min(started for started, _ in calls)
    samples_ms = tuple((ended - started) / 1e6 for started, ended in calls)
    return Taken(samples_ms, wall_ns / 1e9, (cpu_ns[-1] - cpu_ns[0]) / 1e9)
