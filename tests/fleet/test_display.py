"""The lines that orders are shown as."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from almaflow.fleet.display import FleetDisplay, line_of
from almaflow.records.order import OrderEvent, OrderState


def event(state: OrderState, **more: object) -> OrderEvent:
    return OrderEvent("a", state, 1.0, 1, "0123456789ab", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        (event(OrderState.queued), "waits for a machine"),
        (
            event(OrderState.queued, place=2, held_by="ann", about_s=240.0),
            "number 2 in line (held by ann, about 4 min 00 s)",
        ),
        (event(OrderState.started), "begins on machine 0123456789ab"),
        (event(OrderState.running, conversion="EAGER", line="load"), "EAGER: load"),
        (event(OrderState.lost), "warning: machine 0123456789ab is lost; the job is queued again"),
        (event(OrderState.done), ""),
    ],
)
def test_lines(shown: OrderEvent, line: str) -> None:
    assert line_of(shown) == line


def test_a_file_gets_what_stays_once() -> None:
    text = io.StringIO()
    display = FleetDisplay({"a": "job 3, resnet18"}, Console(file=text, width=100))
    waiting = event(OrderState.queued, place=1)
    phase = event(OrderState.running, conversion="EAGER", line="load")
    ended = event(OrderState.running, conversion="EAGER", line="ok in 4 s: 1.2 ms", finished={"status": "ok"})
    for each in (waiting, waiting, phase, ended, event(OrderState.done)):
        display.event(each)
    display.close()
    assert text.getvalue().splitlines() == [
        "job 3, resnet18: number 1 in line",
        "job 3, resnet18: EAGER: ok in 4 s: 1.2 ms",
    ]
