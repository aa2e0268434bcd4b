"""Times between the entries of a table: known laws are found again, and the unknown is said to be unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.made_operators import convolution, softmax, table

from almaflow.predict.operators.features import FEATURES, class_of, features
from almaflow.predict.operators.interpolate import interpolate, relative_deviation
from almaflow.records.operators import Operator, OperatorTable, OperatorTime

pytestmark = pytest.mark.slow  # scikit-learn takes two seconds to import

GFLOPS = 100.0
SIZES = [(channels, side) for channels in (16, 32, 64, 128, 256) for side in (7, 14, 28, 56)]


def timed(operator: Operator, source: str = "configs") -> OperatorTime:
    warm_us = operator.flops / GFLOPS / 1e3 + 2.0
    return OperatorTime(operator, warm_us, warm_us + operator.weight_bytes * 1e-5, source=source)


@pytest.fixture(scope="module")
def full() -> OperatorTable:
    return table(*(timed(convolution(channels, channels, side)) for channels, side in SIZES))


def test_a_size_between_the_entries_follows_their_law(full: OperatorTable) -> None:
    asked = [convolution(96, 96, 28), convolution(48, 48, 14)]
    found = interpolate(asked, full)
    for each, operator in zip(found.times, asked, strict=True):
        assert each.warm_us == pytest.approx(timed(operator).warm_us, rel=0.1)
        assert each.cold_us == pytest.approx(each.warm_us + operator.weight_bytes * 1e-5)
    assert relative_deviation(found, [each.warm_us for each in found.times]) < 0.3


def test_what_is_far_from_all_entries_is_less_certain(full: OperatorTable) -> None:
    near, far = interpolate([convolution(64, 64, 28)], full), interpolate([convolution(2048, 4096, 3, 1, 64)], full)
    assert relative_deviation(far, [1.0]) > 2 * relative_deviation(near, [1.0])


def test_a_kind_without_entries_is_a_guess_that_says_so(full: OperatorTable) -> None:
    found = interpolate([softmax(128, 512)], full)
    assert relative_deviation(found, [1.0]) > 0.5


def test_a_user_s_own_models_are_not_learnt_from(full: OperatorTable) -> None:
    asked = convolution(96, 96, 28)
    slow = OperatorTime(asked, 1e6, source="model")
    with_model = replace(full, entries=full.entries | {asked.key: slow})
    assert interpolate([asked], with_model).times[0].warm_us == interpolate([asked], full).times[0].warm_us


@pytest.mark.parametrize(
    ("operator", "name"),
    [
        (convolution(64, 64, 28, 3), "Conv dense"),
        (convolution(64, 64, 28, 1), "Conv pointwise"),
        (convolution(3, 64, 28, 7), "Conv first"),
        (convolution(1, 64, 28, 3), "Conv depthwise"),
        (replace(convolution(8, 64, 28, 3), attributes={"group": 4}), "Conv grouped"),
        (softmax(4, 8), "Softmax"),
    ],
)
def test_variants_of_convolutions_are_classes(operator: Operator, name: str) -> None:
    assert class_of(operator) == name


def test_features_are_logarithms_of_sizes() -> None:
    by_name = dict(zip(FEATURES, features(convolution(63, 31, 3, 1)), strict=True))
    assert by_name["channels"] == 5.0
    assert by_name["depth"] == 6.0
    assert by_name["window"] == 1.0
