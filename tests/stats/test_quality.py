"""What quality was lost, with an interval that is right where the answer is known."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest

from almaflow.stats.quality import Z, paired_drop, proportions_interval


@pytest.mark.parametrize("count", [20, 100, 500])
def test_the_interval_leaves_out_zero_where_mcnemars_test_rejects_equality(count: int) -> None:
    for lost in range(0, 20, 3):
        for won in range(0, min(20, count - lost) + 1 - 1, 2):
            found = proportions_interval(lost, won, count)
            statistic = (lost - won) / sqrt(lost + won) if lost + won else 0.0
            assert (0.0 not in found) == (abs(statistic) > Z), (lost, won)
            assert (lost - won) / count in found
            mirrored = proportions_interval(won, lost, count)
            assert (-mirrored.high, -mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)


def test_no_change_at_all_has_a_width_which_shrinks_with_the_samples() -> None:
    for count in (10, 100, 5000):
        found = proportions_interval(0, 0, count)
        limit = Z**2 / (count + Z**2)
        assert (found.low, found.high) == pytest.approx((-limit, limit), rel=1e-6)


@pytest.mark.parametrize(("lost", "won"), [(10, 0), (0, 10), (10, 1), (5, 5)])
def test_the_ends_stay_within_what_a_difference_can_be(lost: int, won: int) -> None:
    found = proportions_interval(lost, won, lost + won)
    assert -1 <= found.low <= (lost - won) / (lost + won) <= found.high <= 1


def test_with_many_samples_it_is_the_interval_of_the_normal_distribution() -> None:
    lost, won, count = 5200, 4800, 100_000
    half = Z * sqrt(lost + won - (lost - won) ** 2 / count) / count
    found = proportions_interval(lost, won, count)
    assert (found.low, found.high) == pytest.approx((0.004 - half, 0.004 + half), abs=2e-6)


def test_nineteen_of_twenty_intervals_hold_the_true_drop() -> None:
    draws = np.random.default_rng(7).multinomial(200, (0.05, 0.02, 0.93), size=400)
    held = [0.03 in proportions_interval(int(lost), int(won), 200) for lost, won, _ in draws]
    assert 0.93 <= np.mean(held) <= 0.975


def test_scores_of_zero_and_one_are_paired_sample_by_sample() -> None:
    before, after = [1, 1, 1, 0, 0, 1, 1, 1, 1, 1], [0, 1, 1, 1, 0, 0, 0, 1, 1, 1]
    drop, found = paired_drop(before, after)
    assert drop == pytest.approx(0.2)
    assert found == proportions_interval(lost=3, won=1, count=10)


def test_other_scores_have_the_interval_of_their_mean_difference() -> None:
    differences = np.random.default_rng(3).exponential(size=400) - 0.8
    baseline = np.linspace(0, 1, 400)
    drop, found = paired_drop(baseline, baseline - differences)
    assert drop == pytest.approx(differences.mean())
    half = Z * differences.std(ddof=1) / sqrt(400)
    assert found.low == pytest.approx(drop - half, abs=0.15 * half)
    assert found.high == pytest.approx(drop + half, abs=0.15 * half)
    assert paired_drop(baseline, baseline - differences)[1] == found  # seeded


def test_the_same_loss_of_each_sample_is_certain() -> None:
    drop, found = paired_drop([2.0, 4.0, 6.0], [1.5, 3.5, 5.5])
    assert (drop, found.low, found.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("scores", [[], [1.0], [[1.0, 2.0]]])
def test_what_cannot_be_paired_is_refused(scores: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        paired_drop(scores, [1.0, 2.0])
