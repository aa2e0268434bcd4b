"""``hardware.cpus``: how processors are written, which are refused, and what threads come of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.example_jobs import job, planned

from almaflow import machine
from almaflow.config import composition, files, overrides, resolve, store, validation
from almaflow.config.cpus import HIGHEST, format_cpus, parse_cpus
from almaflow.config.explain import explain
from almaflow.errors import UsageError
from almaflow.records import Outcome, Status
from almaflow.tracking.fingerprints import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALLOWED = frozenset({0, 1, 2, 5})


@pytest.fixture(scope="module", autouse=True)
def _hydra() -> Iterator[None]:
    store.register()
    with initialize_config_dir(str(files.conf_dir()), version_base="1.3"):
        yield


@pytest.fixture
def four(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processors, two on a core, of which this process may use four."""
    for cpu in range(8):
        place = tmp_path / f"cpu{cpu}" / "topology"
        place.mkdir(parents=True)
        (place / "physical_package_id").write_text("0\n", encoding="ascii")
        (place / "core_id").write_text(f"{cpu // 2}\n", encoding="ascii")
    monkeypatch.setattr(machine.cpus, "SYSTEM", tmp_path)
    monkeypatch.setattr(machine.cpus, "allowed", lambda: ALLOWED)
    monkeypatch.setattr(machine.cpus, "quota", lambda: None)


def answer(*overrides: str) -> str:
    """What the user reads; empty where nothing is wrong."""
    try:
        resolve.resolve_hardware(validation.validate(compose("config", list(overrides))))
    except Exception as error:  # noqa: BLE001 - whatever Hydra raises
        explained = explain(error)
        assert explained is not None
        assert explained.exit_code == 2
        return str(explained)
    return ""


@pytest.mark.parametrize(
    ("override", "cpus"),
    [
        ("hardware.cpus=null", None),
        ("hardware.cpus=5", (5,)),
        ("hardware.cpus=[2,0]", (0, 2)),
        ("hardware.cpus=0-2", (0, 1, 2)),
        ("hardware.cpus=[0-2,5]", (0, 1, 2, 5)),
        ("hardware.cpus='5,0-1'", (0, 1, 5)),
        ("hardware.cpus=0-2:2", (0, 2)),
        ("hardware.cpus=[1,1,0-1]", (0, 1)),
    ],
)
@pytest.mark.usefixtures("four")
def test_what_hydra_takes(override: str, cpus: tuple[int, ...] | None) -> None:
    assert resolve.resolve_hardware(validation.validate(compose("config", [override]))).cpus == cpus


@pytest.mark.parametrize("given_", [[0, 2], "0,2", (2, 0)])
@pytest.mark.usefixtures("four")
def test_what_python_takes(given_: object) -> None:
    job = composition.compose([overrides.override("hardware.cpus", given_)])
    assert resolve.resolve_hardware(job).cpus == (0, 2)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("hardware.cpus=[]", "hardware.cpus: must name at least one CPU, e.g. [0,2] or [0-3,6]"),
        ("hardware.cpus=''", "hardware.cpus: '' is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"),
        ("hardware.cpus=all", "hardware.cpus: 'all' is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"),
        ("hardware.cpus=-1", "hardware.cpus: '-1' is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"),
        ("hardware.cpus=true", "hardware.cpus: True is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]"),
        (
            "hardware.cpus=[0,1.5]",
            "hardware.cpus: 1.5 is no CPU: must be numbers and ranges, e.g. [0,2] or [0-3,6]",
        ),
        ("hardware.cpus=3-1", "hardware.cpus: '3-1' is an empty range"),
        ("hardware.cpus=0-4:0", "hardware.cpus: '0-4:0' is an empty range"),
        ("hardware.cpus=0-999999999", "hardware.cpus: there is no CPU 999999999"),
        ("hardware.cpus=[1,3-4]", "hardware.cpus=1,3-4: this process may not use CPU 3-4; choose from 0-2,5"),
        ("hardware.cpus=6-9", "hardware.cpus=6-9: this machine has no CPU 8-9; choose from 0-2,5"),
        (
            "hardware.cpus=0,2",
            "hardware.cpus=0,2: several values are a sweep, which takes -m; a list is written in brackets",
        ),
    ],
)
@pytest.mark.usefixtures("four")
def test_what_is_wrong_is_one_line(override: str, line: str) -> None:
    assert answer(override) == line


def test_a_system_that_binds_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.cpus, "allowed", lambda: None)
    assert answer("hardware.cpus=0") == "hardware.cpus: this system binds no process to processors; leave it out"


@pytest.mark.usefixtures("four")
def test_threads_are_the_cores_under_the_processors() -> None:
    def threads(*overrides: str) -> int:
        return resolve.resolve_hardware(validation.validate(compose("config", list(overrides)))).threads

    assert threads("hardware.cpus=[0-2,5]") == 3
    assert threads("hardware.cpus=[0,1]") == 1
    assert threads("hardware.cpus=[0,1]", "hardware.threads=2") == 2
    assert threads() == machine.describe().threads


def test_a_real_processor_of_this_machine_is_taken() -> None:
    cpu = max(os.sched_getaffinity(0))
    made = resolve.resolve_hardware(validation.validate(compose("config", [f"hardware.cpus={cpu}"])))
    assert (made.cpus, made.threads) == ((cpu,), 1)
    assert "this machine has no CPU" in answer(f"hardware.cpus={HIGHEST}")


def test_figures_of_other_processors_are_not_compared() -> None:
    outcome = Outcome(planned("EAGER"), Status.OK, 0, 1)
    made = job(outcome)
    bound = [replace(made, hardware=replace(made.hardware, cpus=cpus)) for cpus in (None, (0,), (1,), (0, 1))]
    assert fingerprint(bound[0], outcome.planned) == fingerprint(made, outcome.planned)
    assert len({fingerprint(each, outcome.planned) for each in bound}) == 4


numbers = st.integers(0, HIGHEST)


@given(st.sets(numbers, min_size=1))
def test_the_shortest_text_is_read_back(cpus: set[int]) -> None:
    assert parse_cpus(format_cpus(cpus)) == parse_cpus(sorted(cpus, reverse=True)) == tuple(sorted(cpus))


@given(st.lists(st.tuples(numbers, st.integers(0, 40), st.integers(1, 5)), min_size=1))
def test_ranges_are_those_of_taskset(ranges: list[tuple[int, int, int]]) -> None:
    kept = [(first, min(first + length, HIGHEST), step) for first, length, step in ranges]
    expected = {cpu for first, last, step in kept for cpu in range(first, last + 1) if (cpu - first) % step == 0}
    texts = [f"{first}-{last}:{step}" for first, last, step in kept]
    assert parse_cpus(",".join(texts)) == parse_cpus(texts) == tuple(sorted(expected))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("0123456789-:, x²٣"), st.lists
)


@given(anything)
@example("9" * 10_000)
@example("0-1:9999999999")
@example("٣")
@example([None])
@example({})
def test_anything_else_is_refused_in_one_line(given_: object) -> None:
    try:
        cpus = parse_cpus(given_)
    except ValueError as error:
        text = str(error)
    else:
        text = "CPU"
        assert cpus is None or (cpus and cpus == tuple(sorted(set(cpus))) and 0 <= cpus[0] <= cpus[-1] <= HIGHEST)
    assert "CPU" in text or "range" in text
    assert len(text.splitlines()) == 1


def test_the_error_is_one_of_input() -> None:
    with pytest.raises(UsageError):
        composition.compose(["hardware.cpus=[]"])
