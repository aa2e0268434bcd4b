"""The memory of a worker and its helpers, with the kernel's answers made up."""

from __future__ import annotations

import pytest

from almaflow.processes import memory
from almaflow.processes.memory import TreeMemory


class Kernel:
    """Process 1 is the worker, the others its helpers: resident memory and share of each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.resident = {1: 500.0}
        self.share: dict[int, float] = {}
        self.asked = 0
        monkeypatch.setattr(memory, "HELPERS_INTERVAL_S", 0.0)
        monkeypatch.setattr(memory, "descendants", lambda _pid: list(self.share))
        monkeypatch.setattr(memory, "resident_mb", lambda pid: self.resident.get(pid, 0.0))
        monkeypatch.setattr(memory, "share_mb", self._share)

    def _share(self, pid: int) -> float:
        self.asked += 1
        return self.share[pid]

    def helper(self, pid: int, resident: float, share: float) -> None:
        self.resident[pid], self.share[pid] = resident, share


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def test_helpers_that_share_their_pages_are_counted_once(kernel: Kernel) -> None:
    tree = TreeMemory(1, limit_mb=1600.0)
    for pid in range(2, 12):
        kernel.helper(pid, resident=400.0, share=60.0)
    assert not any(tree.over_limit("convert") for _ in range(3))
    assert (tree.own_mb, tree.helpers_mb, tree.peak_mb) == (500.0, 600.0, 1100.0)
    kernel.helper(2, resident=3000.0, share=2600.0)
    assert tree.over_limit("convert")


def test_the_share_is_not_asked_for_again_while_nothing_grows(kernel: Kernel) -> None:
    tree = TreeMemory(1, limit_mb=16000.0)
    kernel.helper(2, resident=3000.0, share=2900.0)
    for _ in range(50):
        tree.over_limit("measure")
    assert kernel.asked == 1
    kernel.helper(2, resident=10.0, share=10.0)
    tree.over_limit("measure")
    assert (tree.mb, tree.peak_mb) == (510.0, 3400.0)


def test_a_process_that_was_just_forked_does_not_count_yet(kernel: Kernel) -> None:
    tree = TreeMemory(1, limit_mb=800.0)
    kernel.helper(2, resident=500.0, share=500.0)
    assert not tree.over_limit("convert")
    assert tree.over_limit("convert")


@pytest.mark.parametrize("phase", ["load", "check"])
def test_what_is_not_the_conversions_is_limited_and_no_peak(kernel: Kernel, phase: str) -> None:
    tree = TreeMemory(1, limit_mb=800.0)
    kernel.helper(2, resident=500.0, share=500.0)
    assert [tree.over_limit(phase) for _ in range(2)] == [False, True]
    assert tree.peak_mb is None
