"""Names beside the points of a picture, placed so that they lie on no other name and on no point."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

Box = tuple[float, float, float, float]
"""Left, bottom, right and top in points (1/72 inch)."""

SIZE = 7.0
"""Height of the letters in points."""
RADIUS = 4.0
"""Half the width of what is drawn at a point, in points."""
STEPS = (0.0, 9.0, -9.0, 18.0, -18.0, 27.0, -27.0, 36.0, -36.0)
"""Heights above the point at which a name is tried, in points."""
LINED_FROM = 12.0
"""A name that is further up or down than this has a line to its point."""


def name_points(axes: Axes, points: Sequence[tuple[float, float, str]]) -> None:
    """Write a name beside each point, at the nearest free place; one that has none is left out.

    Args:
        axes: Where the points are drawn already, with their limits and scales.
        points: Place of each point in data coordinates, and its name; earlier ones choose first.
    """
    from matplotlib.textpath import TextPath

    figure = axes.figure.figure
    figure.draw_without_rendering()  # only now does the layout say where the points lie
    per_point = figure.dpi / 72
    at = [tuple(axes.transData.transform((x, y)) / per_point) for x, y, _ in points]
    frame = axes.get_window_extent()
    left, bottom, right, top = (edge / per_point for edge in (frame.x0, frame.y0, frame.x1, frame.y1))
    taken: list[Box] = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in at]
    for (x, y), (data_x, data_y, name) in zip(at, points, strict=True):
        width = TextPath((0, 0), name, size=SIZE).get_extents().width if name.strip() else 0.0
        for up, side in product(STEPS, (1, -1)):
            start = x + RADIUS + 2 if side > 0 else x - RADIUS - 2 - width
            box = (start, y + up - SIZE / 2, start + width, y + up + SIZE / 2)
            inside = left <= box[0] and box[2] <= right and bottom <= box[1] and box[3] <= top
            if not inside or any(_overlap(box, other) for other in taken):
                continue
            taken.append(box)
            line = {"arrowstyle": "-", "linewidth": 0.5, "color": "#999999", "shrinkA": 0, "shrinkB": 2}
            axes.annotate(
                name, (data_x, data_y), (box[0] - x, up), textcoords="offset points", size=SIZE, va="center",
                arrowprops=line if abs(up) > LINED_FROM else None,
            )  # fmt: skip
            break


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
