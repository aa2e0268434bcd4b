from __future__ import annotations

import pytest

from almaflow.records.shares import percent


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0%"), (0.0002, "0.02%"), (0.0235, "2.4%"), (0.5, "50%"), (0.95, "95%"), (0.99922, "99.9%"), (1.0, "100%")],
)
def test_a_little_is_not_nothing_and_nearly_all_is_not_all(share: float, text: str) -> None:
    assert percent(share) == text
