"""How figures of a recorded session are written, on the terminal and on its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from almaflow.analysis.wording import figure

if TYPE_CHECKING:
    from collections.abc import Mapping

UNCHECKED = "writes not checked"
"""What is said of a segment that writes to its inputs: no check compares what it wrote."""


def heading(function: Mapping[str, Any]) -> str:
    """Name a function, with the number of its calls, variants and segments."""
    discarded = ", ".join(f"{number} {why}" for why, number in function["discarded"].items())
    told = [count(function["calls"], "call") + (f" ({discarded}: their Python does not count)" if discarded else "")]
    told += [count(function["variants"], "variant"), count(len(function["segments"]), "segment")]
    return f"{function['function']}: {', '.join(told)}"


def cell_text(cell: Mapping[str, Any]) -> str:
    """Tell the time of a segment in a conversion, with its interval and how well it answers."""
    how = "interpolated" if cell["interpolated"] else fidelity(cell)
    told = f"{cell['conversion']}: {figure(cell['ms'])} ms {interval(cell)} {how}".rstrip()
    return told + mark(cell)


def mark(cell: Mapping[str, Any]) -> str:
    """Mark a time of a segment that writes to its inputs."""
    return f" {UNCHECKED}" if cell["unchecked"] else ""


def unchecked(total: Mapping[str, Any]) -> str:
    """Tell how many segments of a total write to their inputs; nothing where none does."""
    if not total["unchecked"]:
        return ""
    return f"{count(total['unchecked'], 'segment')} with {UNCHECKED}, and kept out of the best of each"


def milliseconds(value: float | None) -> str:
    """Write a time; nothing where it is unknown."""
    return "" if value is None else figure(value)


def interval(each: Mapping[str, Any]) -> str:
    """Write both ends of an interval; nothing where one is unknown."""
    low, high = each["low_ms"], each["high_ms"]
    return "" if low is None or high is None else f"{figure(low)}-{figure(high)}"


def fidelity(each: Mapping[str, Any]) -> str:
    """Write how well answers agree with eager's."""
    if each["fidelity_db"] is not None:
        return f"{each['fidelity_db']:.0f} dB"
    return "" if each["equal_share"] is None else f"{100 * each['equal_share']:.3g}% equal"


def cost(total: Mapping[str, Any]) -> str:
    """Write what a million calls cost."""
    usd = total["cost_per_million_usd"]
    return "" if usd is None else f"{usd:.3g}"


def count(number: int, what: str) -> str:
    """Write a number of things."""
    return f"{number} {what}{'' if number == 1 else 's'}"
