from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from almaflow.profiles.choice import choose
from almaflow.profiles.sizes import MOST, Grid, grid, interpolate
from almaflow.profiles.workload import Piece


def piece(name: str, calls: int = 1, eager_ms: float = 1.0, size: float = 1.0, family: str | None = None) -> Piece:
    return Piece(name, family or name, calls, eager_ms, size)


def test_the_most_eager_time_comes_first() -> None:
    found = choose([piece("rare", 1, 5.0), piece("often", 100, 1.0), piece("long", 2, 30.0)], 50)
    assert [each.segment_id for each in found.order] == ["often", "long", "rare"]


def test_what_hardly_takes_time_is_left_out_and_told() -> None:
    found = choose([piece("whole", 1, 10.0), piece("tiny", 2, 0.04), piece("small", 1, 0.03)], 50)
    assert [each.segment_id for each in found.order] == ["whole", "tiny"]  # both together are more than a hundredth
    assert found.left_out == {"small": "below 50 us, and 1% of the graphs' time with all such ones"}


def test_many_tiny_ones_are_measured() -> None:
    assert len(choose([piece(f"s{i}", 1, 0.01) for i in range(250)], 50).order) == 248


def test_what_cannot_be_measured_apart_is_left_out_with_its_reason() -> None:
    odd = Piece("odd", "odd", 1, 5.0, unmeasurable="holds a lock")
    assert choose([odd], 50).left_out == {"odd": "holds a lock"}


def test_of_many_sizes_five_are_measured_and_a_sixth_checks() -> None:
    family = [piece(f"s{size:02}", 1, float(size), float(size), "f") for size in range(1, 65)]
    found = choose(family, 50)
    assert len(found.order) == MOST + 1
    assert {"s01", "s64"} <= {each.segment_id for each in found.order} - found.checks
    assert len(found.checks) == 1


def test_a_family_that_takes_little_is_measured_at_fewer_sizes() -> None:
    shares = {"most": 70.0, "some": 28.0, "little": 1.5}
    pieces = [
        piece(f"{name}{size}", 1, share, float(size), name) for name, share in shares.items() for size in range(1, 21)
    ]
    found = choose(pieces, 50)
    counts = {name: sum(each.family == name for each in found.order) for name in shares}
    assert counts == {"most": MOST + 1, "some": 3 + 1, "little": 2}
    assert len(found.checks) == 2
    assert not found.left_out


def test_all_sizes_of_a_family_are_left_out_where_together_they_hardly_count() -> None:
    pieces = [piece("whole", 1, 100.0), *(piece(f"s{size}", 1, 0.1, float(size), "many") for size in range(1, 6))]
    found = choose(pieces, 50)
    assert [each.segment_id for each in found.order] == ["whole"]
    assert set(found.left_out.values()) == {"all sizes of it are below 1% of the graphs' time"}


def test_few_sizes_are_all_measured() -> None:
    family = [piece(f"s{size}", 1, 1.0, float(size), "f") for size in range(1, 6)]
    assert grid(family) == Grid(family)


@given(
    st.lists(st.tuples(st.integers(1, 10**6), st.integers(1, 1000)), min_size=6, max_size=40, unique_by=lambda x: x[0])
)
def test_the_grid_holds_both_ends_and_five_sizes_whatever_the_calls(sizes: list[tuple[int, int]]) -> None:
    family = [piece(str(size), calls, 1.0, float(size), "f") for size, calls in sizes]
    for most in (MOST, 3):
        chosen = grid(family, most)
        assert len({each.segment_id for each in chosen.measured}) == most
        assert chosen.check is not None
        assert chosen.check not in chosen.measured
        assert chosen.measured[0].size == min(size for size, _ in sizes)
        assert chosen.measured[-1].size == max(size for size, _ in sizes)


@given(
    st.dictionaries(st.integers(1, 10**6), st.floats(1e-3, 1e4), min_size=2, max_size=6),
    st.floats(1.0, 1e6),
    st.floats(1.0, 10.0),
)
def test_interpolation_is_monotone_where_the_measured_times_are(
    times: dict[int, float], size: float, factor: float
) -> None:
    points = list(zip(sorted(times), sorted(times.values()), strict=True))
    low, high = interpolate(points, size), interpolate(points, factor * size)
    assert low <= high * (1 + 1e-9)
    assert points[0][1] * (1 - 1e-9) <= low <= points[-1][1] * (1 + 1e-9)


def test_powers_of_the_size_are_met_exactly() -> None:
    points = [(size, 3.0 * size**1.5) for size in (1.0, 16.0, 64.0)]
    assert interpolate(points, 8.0) == pytest.approx(3.0 * math.pow(8.0, 1.5))


def test_equal_sizes_count_by_their_mean() -> None:
    assert interpolate([(2.0, 1.0), (2.0, 4.0)], 2.0) == pytest.approx(2.0)
