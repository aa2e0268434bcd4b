"""Energy counters: which of them are read, what their difference is when they start anew, and when there is none."""

from __future__ import annotations

import os
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow import machine
from almaflow.machine import energy, gpus

if TYPE_CHECKING:
    from pathlib import Path

TURN_UJ = 262_143_328_850


def zone(root: Path, directory: str, name: str, uj: object, turn_uj: object = TURN_UJ) -> Path:
    place = root / directory
    place.mkdir(parents=True, exist_ok=True)
    for file, text in {"name": name, "energy_uj": uj, "max_energy_range_uj": turn_uj}.items():
        (place / file).write_text(f"{text}\n", encoding="ascii")
    return place


def read(meter: energy.EnergyMeter | None) -> float:
    assert meter is not None
    joules = meter.read_j()
    assert joules is not None
    return joules


def test_whole_packages_are_added_up_and_nothing_else(tmp_path: Path) -> None:
    one = zone(tmp_path, "intel-rapl:0", "package-0", 5_000_000)
    two = zone(tmp_path, "intel-rapl:1", "package-1", 7_000_000)
    others = [
        zone(tmp_path, "intel-rapl:0:0", "core", 1),
        zone(tmp_path, "intel-rapl:1:0", "package-1-dram", 1),
        zone(tmp_path, "intel-rapl:2", "psys", 1),
        zone(tmp_path, "intel-rapl-mmio:0", "package-0", 1),
    ]
    meter = energy.meter("cpu", tmp_path)
    assert read(meter) == 0
    for place in others:
        (place / "energy_uj").write_text("900000000", encoding="ascii")
    assert read(meter) == 0
    (one / "energy_uj").write_text("5500000", encoding="ascii")
    (two / "energy_uj").write_text("8000000", encoding="ascii")
    assert read(meter) == pytest.approx(1.5)


def test_without_packages_that_can_be_read_there_is_no_meter(tmp_path: Path) -> None:
    assert energy.meter("cpu", tmp_path / "absent") is None
    zone(tmp_path, "intel-rapl:2", "psys", 1)
    assert energy.meter("cpu", tmp_path) is None
    zone(tmp_path, "intel-rapl:0", "package-0", 1)
    assert energy.meter("cpu", tmp_path) is not None
    second = zone(tmp_path, "intel-rapl:1", "package-1", 1, turn_uj="?")
    assert energy.meter("cpu", tmp_path) is None
    (second / "max_energy_range_uj").write_text("100", encoding="ascii")
    (second / "energy_uj").unlink()
    assert energy.meter("cpu", tmp_path) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_counters_that_only_root_may_read_are_no_meter(tmp_path: Path) -> None:
    (zone(tmp_path, "intel-rapl:0", "package-0", 1) / "energy_uj").chmod(0o000)
    assert energy.meter("cpu", tmp_path) is None


def test_a_counter_that_fails_once_costs_one_reading_and_no_energy(tmp_path: Path) -> None:
    place = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    meter = energy.meter("cpu", tmp_path)
    assert meter is not None
    (place / "energy_uj").write_text("", encoding="ascii")
    assert meter.read_j() is None
    (place / "energy_uj").write_text("2000000", encoding="ascii")
    assert meter.read_j() == 2


@given(
    begin=st.integers(0, TURN_UJ - 1),
    steps=st.lists(st.integers(0, TURN_UJ - 1), max_size=20),
)
def test_no_turn_of_the_counter_is_lost(begin: int, steps: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.getbasetemp() / "turns"
    place = zone(root, "intel-rapl:0", "package-0", begin)
    meter = energy.meter("cpu", root)
    taken = begin
    for step in steps:
        taken += step
        (place / "energy_uj").write_text(str(taken % TURN_UJ), encoding="ascii")
        assert read(meter) == pytest.approx((taken - begin) / 1e6)


@pytest.mark.skipif(energy.meter("cpu") is None, reason="no RAPL counter that this process may read")
def test_real_packages_take_some_watts() -> None:
    meter = energy.meter("cpu")
    before, began = read(meter), time.perf_counter()
    time.sleep(0.2)
    assert 0.1 < (read(meter) - before) / (time.perf_counter() - began) < 5000


class FakeNvmlError(Exception):
    """As pynvml's own."""


def fake_nvml(millijoules: list[int]) -> SimpleNamespace:
    def consumption(_: object) -> int:
        if not millijoules:
            raise FakeNvmlError
        return millijoules.pop(0)

    return SimpleNamespace(
        NVMLError=FakeNvmlError,
        NVMLLibraryMismatchError=FakeNvmlError,
        nvmlDeviceGetTotalEnergyConsumption=consumption,
    )


def test_a_gpus_counter_is_in_millijoules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([1, 4_000, 6_500]))
    monkeypatch.setattr(energy, "first_handle", lambda: "handle")
    meter = energy.meter("cuda")
    assert meter is not None
    assert [meter.read_j(), meter.read_j(), meter.read_j()] == [4.0, 6.5, None]


def test_a_gpu_without_a_counter_or_no_gpu_is_no_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml([]))
    monkeypatch.setattr(energy, "first_handle", lambda: "handle")
    assert energy.meter("cuda") is None
    monkeypatch.setattr(energy, "first_handle", lambda: None)
    assert energy.meter("cuda") is None


@pytest.mark.skipif(not machine.has_cuda(), reason="no NVIDIA GPU")
def test_a_real_gpu_counts_or_says_that_it_does_not() -> None:
    gpus.first_handle.cache_clear()
    meter = energy.meter("cuda")
    if meter is not None:
        before = read(meter)
        time.sleep(0.5)
        assert read(meter) >= before
