"""The package stays a house that fits in the head; import-linter keeps its walls."""

from __future__ import annotations

from tests.support.house import House

MOST_ROOMS, MOST_FLOORS, MOST_LOOSE = 26, 10, 4


def test_the_house_fits_in_the_head() -> None:
    house = House.measured()
    assert house.circles == []
    assert len(house.imports) <= MOST_ROOMS
    assert len(house.floors) <= MOST_FLOORS
    assert len(house.loose) <= MOST_LOOSE


def test_circles_and_floors_are_seen() -> None:
    assert House({"a": {"b"}, "b": {"c"}, "c": {"b"}}, set()).circles == [{"b", "c"}]
    assert House({"a": {"b"}, "b": set(), "c": {"a", "b"}}, set()).floors == [{"b"}, {"a"}, {"c"}]
