"""Find out why an error changed: the prediction moved, or the measurement did."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PART = 0.25
"""The share of all moves that a side needs to be called a cause."""
FOLLOWS = 0.5
"""The share of the measurement's move that the control workload has to follow, for the machine to be the cause."""
CROWDED = 0.25
"""The number of further processors taken by others that is a cause; an idle machine shows a few hundredths."""
STRAY = 0.25
"""The share of values in common, on either side of a change, up to which a tag has changed: a single night may have
been measured with the old version again."""
WITHOUT_EFFECT = frozenset({"git_commit", "memory_gb", "mlflow"})
"""``env.*`` tags that may change without an effect on a latency: they are shown, but are no cause."""


@dataclass(frozen=True)
class Moment:
    """The facts of one point of a series that can be a cause."""

    predicted_ms: float
    measured_ms: float
    control_ms: float | None
    eager_ms: float | None
    """Eager's latency in the same job; None for eager itself."""
    version: str
    """The predictor's version."""
    environment: Mapping[str, str]
    others_cpus: float | None = None
    """Processors that other processes took."""

    @property
    def log_ratio(self) -> float:
        """The logarithm of predicted over measured."""
        return math.log(self.predicted_ms / self.measured_ms)


@dataclass(frozen=True)
class Cause:
    """The cause of a change. Moves are in percent of the level before."""

    kind: str
    """``prediction``, ``machine``, ``version`` or ``unknown``; two joined by ``+`` where both sides moved."""
    why: str
    predicted_pct: float
    measured_pct: float
    control_pct: float | None
    eager_pct: float | None
    others_cpus: tuple[float, float] | None
    """Processors that others took before it and behind it."""
    environment: dict[str, tuple[str, str]]
    """Tags ``env.*`` that have other values behind the change than before it, without the prefix."""
    versions: tuple[tuple[str, ...], tuple[str, ...]]
    """The predictor's versions before and behind the change."""


def cause_of(before: Sequence[Moment], after: Sequence[Moment]) -> Cause:
    """Return the cause of a change between two stretches of a series.

    The error is the prediction less the measurement, in logarithms: a side is a cause where it moved by a quarter of
    both moves or more. A measurement that moved is the machine's doing where the control workload moved with it, by
    half as much at least, or where others came or went on its processors: the control workload is over in
    milliseconds, which the system mostly gives to a process that has slept. Otherwise it is a version's, where
    ``env.*`` tags changed; and where none did, eager tells whether everything moved (the machine, in a way that the
    control does not see) or only this conversion.
    """
    predicted, measured = (
        _move([getattr(each, name) for each in before], [getattr(each, name) for each in after]) or 0.0
        for name in ("predicted_ms", "measured_ms")
    )
    control = _move([each.control_ms for each in before], [each.control_ms for each in after])
    eager = _move([each.eager_ms for each in before], [each.eager_ms for each in after])
    changed = _changed([each.environment for each in before], [each.environment for each in after])
    others = _levels([each.others_cpus for each in before], [each.others_cpus for each in after])
    versions = tuple(dict.fromkeys(e.version for e in before)), tuple(dict.fromkeys(e.version for e in after))
    both = abs(predicted) + abs(measured)
    kinds, reasons = [], []
    if both and abs(predicted) >= PART * both:
        kinds.append("prediction")
        old, new = _usual([e.version for e in before], last=True), _usual([e.version for e in after])
        versions_text = f" ({old} → {new})" if old != new else ", its version did not"
        reasons.append(f"the prediction moved by {_signed(predicted)}{versions_text}")
    if both and abs(measured) >= PART * both:
        kind, reason = _of_measurement(measured, control, eager, others, changed)
        kinds.append(kind)
        reasons.append(f"the measurement moved by {_signed(measured)}: {reason}")
    return Cause(
        "+".join(kinds) or "unknown",
        "; ".join(reasons),
        _percent(predicted),
        _percent(measured),
        None if control is None else _percent(control),
        None if eager is None else _percent(eager),
        others,
        changed,
        versions,
    )


def _of_measurement(
    measured: float,
    control: float | None,
    eager: float | None,
    others: tuple[float, float] | None,
    changed: Mapping[str, tuple[str, str]],
) -> tuple[str, str]:
    named = [f"env.{name} {old} → {new}" for name, (old, new) in changed.items() if not _idle(name)]
    also = f"; changed too: {', '.join(named)}" if named else ""
    if control is not None and control * measured > 0 and abs(control) >= FOLLOWS * abs(measured):
        return "machine", f"the machine, whose control workload moved by {_signed(control)}{also}"
    if others is not None:
        came = others[1] - others[0]
        if came * measured > 0 and abs(came) >= CROWDED:
            return "machine", f"others took {others[1]:.1f} processors of the machine, {others[0]:.1f} before{also}"
    together = eager is not None and eager * measured > 0 and abs(eager) >= FOLLOWS * abs(measured)
    steady = "without control workload" if control is None else f"the control workload moved by {_signed(control)}"
    if eager is not None:
        steady += f", eager by {_signed(eager)}"
    if named:
        return "version", f"{', '.join(named)} ({steady})"
    idle = [f"env.{name}" for name in changed]
    nothing = f"no env tag changed but {', '.join(idle)}" if idle else "no env tag changed"
    if together:
        return "machine", f"eager moved too, the machine then ({steady}; {nothing})"
    return "unknown", f"{nothing} ({steady})"


def _levels(before: Sequence[float | None], after: Sequence[float | None]) -> tuple[float, float] | None:
    """Return the medians of both sides; None where either side has no value."""
    old, new = ([each for each in side if each is not None] for side in (before, after))
    return (median(old), median(new)) if old and new else None


def _move(before: Sequence[float | None], after: Sequence[float | None]) -> float | None:
    """Return the move between the medians, as a logarithm; None where either side has no value."""
    levels = _levels(before, after)
    return math.log(levels[1] / levels[0]) if levels and min(levels) > 0 else None


def _changed(before: Sequence[Mapping[str, str]], after: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, str]]:
    """Return tags whose values before and behind the change have next to nothing in common.

    Those that can have an effect come first; each has its usual value of either side.
    """
    names = {name for each in (*before, *after) for name in each}
    changed = {}
    for name in sorted(names, key=lambda name: (_idle(name), name)):
        old, new = ([each.get(name, "none") for each in side] for side in (before, after))
        if _in_common(old, new) <= STRAY:
            changed[name] = _usual(old, last=True), _usual(new)
    return changed


def _in_common(old: Sequence[str], new: Sequence[str]) -> float:
    """Return the share of values, 0 to 1, that both sides have alike."""
    before, after = Counter(old), Counter(new)
    return sum(min(before[value] / len(old), after[value] / len(new)) for value in before)


def _usual(values: Sequence[str], *, last: bool = False) -> str:
    """Return the most frequent value; of several, the first or the last one."""
    return Counter(reversed(values) if last else values).most_common(1)[0][0]


def _idle(name: str) -> bool:
    return name in WITHOUT_EFFECT


def _percent(move: float) -> float:
    return 100 * math.expm1(move)


def _signed(move: float) -> str:
    return f"{_percent(move):+.1f}%"
