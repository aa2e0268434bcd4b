"""No absurd figure: whatever is shown of a job on a disturbed machine is near the truth, or says that it may not be."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.example_jobs import in_rounds, job, ok
from tests.support.made_rounds import Disturbance, made_job

from almaflow.analysis import outcome_metrics
from almaflow.analysis.rows import Compared, compare, make_row
from almaflow.analysis.wording import ratio, speedup
from almaflow.records import MachineState, Outcome

NEAR = 1.3
"""How far a figure without a mark may lie from the truth, as a factor."""
MARKED = 2.0
"""How far one with a mark may: it says that it may be wrong."""
FEWEST = 6
"""Rounds below which there is no interval: what is shown then is marked, and nobody knows how far off it is."""


def shown(truth: float, rounds: int, what: Disturbance, seed: int) -> str:
    made = made_job(truth, rounds, what, seed)
    return speedup(outcome_metrics(made, made.outcomes[1]), "eager")


def error(text: str, truth: float) -> float:
    """How far a text is off, as a factor: 1 for a dash, and for a range that holds the truth."""
    if text == "-":
        return 1.0
    low, _, high = text.rstrip("~").removesuffix("x").partition("-")
    nearest = min(max(truth, float(low)), float(high or low))
    return max(nearest / truth, truth / nearest)


disturbances = st.builds(
    Disturbance,
    busy=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8]),
    spell=st.floats(1.0, 20.0),
    slower=st.tuples(st.floats(1.0, 30.0), st.floats(1.0, 30.0)),
    drift=st.floats(0.5, 2.0),
    steps=st.sampled_from([1.0, 1.3]),
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.floats(0.2, 20.0), st.sampled_from([2, 5, 9, 16, 40, 100, 1000]), disturbances, st.integers(0, 2**31))
def test_what_is_shown_is_near_the_truth_or_says_that_it_may_not_be(
    truth: float, rounds: int, what: Disturbance, seed: int
) -> None:
    text = shown(truth, rounds, what, seed)
    assert text
    if rounds < FEWEST:
        assert text == "-" or text.endswith("~")
    else:
        assert error(text, truth) <= (MARKED if text.endswith("~") else NEAR), text


def test_two_hundred_jobs() -> None:
    """Nothing without a mark is further off than a factor of 1.3.

    Others that compute nearly all along are among those whose load is known: no timing shows them.
    """
    random = np.random.default_rng(11)
    off: dict[str, list[float]] = {"plain": [], "marked": [], "range": []}
    unknown = 0
    for seed in range(200):
        truth = float(np.exp(random.uniform(np.log(0.3), np.log(15))))
        busy = float(random.choice([0.0, 0.1, 0.3, 0.6, 0.9]))
        what = Disturbance(
            busy=busy,
            spell=float(random.uniform(1, 30)),
            slower=(float(random.uniform(1, 30)), float(random.uniform(1, 30))),
            drift=float(np.exp(random.uniform(-0.7, 0.7))),
            seen=busy > 0.5 or bool(random.random() < 0.7),
        )
        text = shown(truth, int(random.choice([9, 12, 20, 50])), what, seed)
        unknown += text == "-"
        kind = "marked" if text.endswith("~") else "range" if "-" in text else "plain"
        off[kind].append(error(text, truth))
    assert max(off["plain"]) <= NEAR
    assert max(off["range"], default=1.0) <= NEAR
    assert max(off["marked"]) <= MARKED
    assert len(off["plain"]) >= 80
    assert unknown <= 80


@pytest.mark.parametrize(("rounds", "truth"), [*product((9, 40), (0.5, 1.02, 4.0))])
def test_a_quiet_machine_gives_the_figure(rounds: int, truth: float) -> None:
    for what in (Disturbance(), Disturbance(drift=2.0), Disturbance(steps=1.3)):
        text = shown(truth, rounds, what, 3)
        assert text[-1] == "x"
        assert error(text, truth) < 1.05, (text, what)


def busy_rounds(name: str, quiet_ms: float, busy_ms: float, states: list[MachineState]) -> Outcome:
    middles = [busy_ms if (state.others_cpus or 0) > 0.5 else quiet_ms for state in states]
    return in_rounds(ok(name), middles, calls=21, states=states)


def test_rounds_that_others_disturbed_are_left_out_where_enough_remain() -> None:
    busy, quiet = MachineState(others_cpus=1.7), MachineState(others_cpus=0.02)
    states = [busy, quiet, quiet] * 6
    eager = busy_rounds("EAGER", 20.0, 900.0, states)
    made = job(eager, busy_rounds("ONNX_CPU", 5.0, 6.0, states))
    found = outcome_metrics(made, made.outcomes[1])
    assert found["speedup_vs_eager"] == pytest.approx(4.0)
    assert found["speedup/vs_eager_stable"] == 1.0
    assert speedup(found, "eager") == "4.00x"


def test_where_too_few_remain_the_floors_are_shown_with_a_mark() -> None:
    busy, quiet = MachineState(others_cpus=1.7), MachineState(others_cpus=0.02)
    states = [busy, busy, quiet] * 4
    made = job(busy_rounds("EAGER", 20.0, 900.0, states), busy_rounds("ONNX_CPU", 5.0, 6.0, states))
    found = outcome_metrics(made, made.outcomes[1])
    assert found["speedup_vs_eager"] == pytest.approx(found["speedup/floor_vs_eager"])
    assert found["speedup/vs_eager_stable"] == 0.0
    assert speedup(found, "eager") == "4.0x~"


def test_where_nothing_is_known_there_is_no_figure() -> None:
    """Each round of eager takes another time, and its fastest one is the only one of its kind."""
    eager = in_rounds(ok("EAGER"), [20.0 * 3**number for number in range(9)])
    made = job(eager, in_rounds(ok("ONNX_CPU"), [5.0] * 9))
    found = outcome_metrics(made, made.outcomes[1])
    assert "speedup_vs_eager" not in found
    assert found["speedup/vs_eager_ci_high"] > 1000
    assert speedup(found, "eager") == "-"


def test_on_a_busy_machine_that_tells_no_ratio_the_two_are_not_told_apart() -> None:
    """Hardly a round was quiet: the medians are ten apart, and show the disturbance."""
    states = [MachineState(others_cpus=1.7)] * 4
    made = job(
        in_rounds(ok("EAGER"), [20.0 * 3**number for number in range(4)], states=states),
        in_rounds(ok("ONNX_CPU"), [5.0] * 4, states=states),
    )
    eager, onnx = (make_row(made, outcome) for outcome in made.outcomes)
    assert speedup(onnx.metrics, "eager") == "-"
    assert compare(onnx, eager, made.hardware.threads) is Compared.UNKNOWN


def test_a_clock_that_reads_zero_gives_no_speedup() -> None:
    made = job(ok("EAGER", 0.0), ok("ONNX_CPU", 5.0))
    assert "speedup_vs_eager" not in outcome_metrics(made, made.outcomes[1])
    assert speedup({"speedup_vs_eager": 0.0}, "eager") == ""


@pytest.mark.parametrize(
    ("metrics", "text"),
    [
        ({}, ""),
        ({"speedup_vs_eager": None}, ""),
        ({"speedup_vs_eager": 4.0}, "4.0x"),
        ({"speedup_vs_eager": 1.0}, "1.00x"),
        ({"speedup_vs_eager": 4.0512, "ci": (4.01, 4.09)}, "4.05x"),
        ({"speedup_vs_eager": 4.0512, "ci": (3.7, 4.4)}, "4.1x"),
        ({"speedup_vs_eager": 1.054, "ci": (1.0, 1.1)}, "1.05x"),
        ({"speedup_vs_eager": 0.96, "ci": (0.9, 1.02)}, "0.96x"),
        ({"speedup_vs_eager": 24.56, "ci": (20.0, 28.0)}, "25x"),
        ({"speedup_vs_eager": 266.7, "ci": (240.0, 280.0)}, "270x"),
        ({"speedup_vs_eager": 0.01324, "ci": (0.0132, 0.0133)}, "0.0132x"),
        ({"speedup_vs_eager": 4.04, "ci": (2.0, 90.0), "floor": 4.04, "stable": 0}, "4.0x~"),
        ({"speedup_vs_eager": 4.04, "floor": 4.1, "stable": 0}, "4.0x~"),
        ({"ci": (2.5, 4.1), "floor": 3.0, "stable": 0}, "2.5-4.1x"),
        ({"ci": (2.0, 4.1), "floor": 3.0, "stable": 0}, "-"),
        ({"ci": (4.0, 4.1), "floor": 3.0, "stable": 0}, "3.0-4.1x"),
        ({"ci": (4.0, 2660.0), "floor": 4.0, "stable": 0}, "-"),
        ({"floor": 4.0, "stable": 0}, "-"),
        # As older versions of almaflow wrote them.
        ({"speedup_vs_eager": 732.35, "ci": (4.0, 2660.0), "floor": 4.0, "stable": 0}, "-"),
        ({"speedup_vs_eager": 9.8, "ci": (3.6, 21.8), "floor": 3.63, "stable": 0}, "-"),
        ({"speedup_vs_eager": 9.8, "ci": (7.0, 13.2), "floor": 7.5, "stable": 0}, "7.0-13x"),
        ({"speedup_vs_eager": 2.0, "ci": (1.4, 2.7), "floor": 1.9, "stable": 1}, "1.4-2.7x"),
    ],
)
def test_a_speedup_is_shown_only_as_precisely_as_it_is_known(metrics: dict[str, Any], text: str) -> None:
    low, high = metrics.get("ci", (None, None))
    known = {
        "speedup_vs_eager": metrics.get("speedup_vs_eager"),
        "speedup/vs_eager_ci_low": low,
        "speedup/vs_eager_ci_high": high,
        "speedup/floor_vs_eager": metrics.get("floor"),
        "speedup/vs_eager_stable": metrics.get("stable", 1 if low else None),
    }
    assert speedup(known, "eager") == text


@given(st.floats(1e-6, 1e6), st.integers(2, 3))
def test_a_ratio_is_rounded_to_its_digits(value: float, digits: int) -> None:
    text = ratio(value, digits)
    assert "e" not in text
    assert float(text[:-1]) == pytest.approx(value, rel=0.5 * 10 ** (1 - digits) * 1.01)
