"""The choice under limits and the Pareto front in words, the same in every document."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from almaflow.analysis.choose import Choice
from almaflow.analysis.metric_names import more_is_better
from almaflow.analysis.pareto import FIDELITY, accuracy_metric
from almaflow.analysis.wording import names
from almaflow.records.quality import figure_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from almaflow.analysis.choose import Metrics

ON_THE_FRONT = "*"
"""Behind the name of a conversion on the Pareto front."""


def marked(name: str, front: Collection[str]) -> str:
    """Return the name of a conversion, with the mark where it is on the Pareto front."""
    return f"{name} {ON_THE_FRONT}" if name in front else name


def front_explained(front: Collection[str], candidates: Mapping[str, Metrics]) -> list[str]:
    """Explain the mark of the conversions on the Pareto front; nothing where there is none."""
    metric = accuracy_metric(candidates)
    accuracy = "fidelity" if metric == FIDELITY else metric
    text = f"{ON_THE_FRONT} on the Pareto front: no other is as good in latency, {accuracy} and size, and better in one"
    return [text] if front else []


def chosen(choice: Choice) -> str:
    """Name the conversion that was chosen, by what, and those that it is tied with."""
    limits = names(
        [f"{name} <= {limit:g}" for name, limit in choice.max.items()]
        + [f"{name} >= {limit:g}" for name, limit in choice.min.items()]
    )
    count = len(choice.fitting) + len(choice.rejected)
    if choice.conversion is None:
        why = f"no conversion {f'fits {limits}' if limits else f'has {choice.by}'}"
        return f"Chosen: none, {why if count else 'no conversion has a valid latency'}"
    # The name of a figure of quality does not always say which way it is better.
    which = "best" if figure_of(choice.by) else "highest" if more_is_better(choice.by) else "lowest"
    text = f"Chosen: {choice.conversion}, {which} {choice.by}"
    text += "" if choice.value is None else f" ({choice.value:.4g})"
    if limits:
        text += f"; {len(choice.fitting)} of {count} {'fits' if len(choice.fitting) == 1 else 'fit'} {limits}"
    return text + (f"; tied with {names(choice.tied_with_chosen)}" if choice.tied_with_chosen else "")


def reasons(choice: Choice) -> list[tuple[str, str]]:
    """Return each conversion that does not fit, and what it failed by."""
    return [(name, "; ".join(failed_by)) for name, failed_by in choice.rejected.items()]


def choice_in(output: Mapping[str, Any]) -> Choice | None:
    """Return the choice that ``output=FILE.json`` holds; None where no limits were given."""
    choice = output["choice"]
    known = {each.name for each in fields(Choice)}
    return Choice(**{name: value for name, value in choice.items() if name in known}) if choice else None
