"""The package as a house, from its imports: ``python -m tests.support.house`` prints its rooms by floors.

A room is a folder or a loose module of the package. A floor stands above all that its rooms import, imports for type
checking included. A circle is a group of rooms that import each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import grimp

PACKAGE = "almaflow"
FACES = {f"{PACKAGE}.__main__"}
"""Not counted: it starts the command."""


@dataclass(frozen=True)
class House:
    """Rooms with what each imports."""

    imports: dict[str, set[str]]
    loose: set[str]
    """Rooms that are one module."""

    @classmethod
    def measured(cls) -> House:
        graph = grimp.build_graph(PACKAGE)
        rooms = graph.find_children(PACKAGE) - FACES
        imports: dict[str, set[str]] = {room: set() for room in rooms}
        for room in rooms:
            for module in {room, *graph.find_descendants(room)}:
                for imported in graph.find_modules_directly_imported_by(module):
                    imports[room] |= {other for other in rooms - {room} if f"{imported}.".startswith(f"{other}.")}
        return cls(imports, {room for room in rooms if not graph.find_children(room)})

    @property
    def circles(self) -> list[set[str]]:
        reach = {room: self._reachable(room) for room in self.imports}
        found = {frozenset({room} | {other for other in reach[room] if room in reach[other]}) for room in reach}
        return [set(circle) for circle in found if len(circle) > 1]

    def _reachable(self, room: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(self.imports[room])
        while waiting:
            if (other := waiting.pop()) not in seen:
                seen.add(other)
                waiting += self.imports[other]
        return seen

    @property
    def floors(self) -> list[set[str]]:
        """Rooms of each floor, the ground first; only for a house without circles."""

        @cache
        def floor(room: str) -> int:
            return 1 + max(map(floor, self.imports[room]), default=-1)

        return [
            {room for room in self.imports if floor(room) == number}
            for number in range(1 + max(map(floor, self.imports)))
        ]

    @property
    def arrows(self) -> int:
        return sum(map(len, self.imports.values()))


def main() -> None:
    house = House.measured()
    print(f"rooms {len(house.imports)}, loose {len(house.loose)}, circles {len(house.circles)}, arrows {house.arrows}")
    for circle in house.circles:
        print("circle:", *sorted(circle))
    if not house.circles:
        for number, rooms in reversed(list(enumerate(house.floors, 1))):
            print(f"floor {number}:", *sorted(room.removeprefix(f"{PACKAGE}.") for room in rooms))


if __name__ == "__main__":
    main()
