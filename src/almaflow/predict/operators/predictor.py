"""A predictor that adds up the measured times of the operators that the runtime executes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot, log
from statistics import quantiles
from typing import TYPE_CHECKING

from almaflow.predict.operators.call import call_us, operator_us
from almaflow.predict.operators.graphs import graph_of, has_graph
from almaflow.predict.operators.interpolate import SOURCE, interpolate, relative_deviation
from almaflow.predict.operators.tables import load_table
from almaflow.records import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from almaflow.records import PredictionRequest
    from almaflow.records.operators import Operator, OperatorGraph, OperatorTable, OperatorTime

NINETY = 1.645
"""Standard deviations on either side that hold 90 of 100 values of a normal distribution."""
FEWEST_ERRORS = 10
"""Chains whose error has to be known for an interval to be stated."""

NEGLIGIBLE_BYTES = 16_384


@dataclass(frozen=True)
class OperatorShare:
    """The share of one operator in the time of a call."""

    operation: Operator
    total_ms: float
    entry: OperatorTime | None
    """The times that it follows from; None where it only gives its input on."""


@dataclass(frozen=True)
class Operators:
    """Adds up operators whose times are in this machine's table: it predicts the floor, which repeats over days."""

    interpolate: bool = False
    """Whether times come from other shapes of the table alone, as those of a model that was never seen do."""
    name: str = "operators"
    version: str = "1"
    """The method's version; a prediction has the version of the table."""

    def predict(self, question: PredictionRequest) -> Prediction | None:
        """Return None where the machine has no table, or the table lacks one of the operators."""
        table = self._table(question)
        if table is None:
            return None
        shares = self._shares(question, table)
        if shares is None:
            return None
        graph = graph_of(question.model, question.conversion, question.hardware.threads)
        latency_ms = sum(share.total_ms for share in shares.operators) + call_us(graph, table.rest) / 1000
        low, high = interval(table.errors, shares.deviation)
        made = Prediction(latency_ms, self.name, table.version, control_ms=table.control_ms)
        return replace(made, low_ms=latency_ms * low, high_ms=latency_ms * high) if low and high else made

    def costs(self, question: PredictionRequest) -> Iterator[OperatorShare]:
        """Yield the share of each operator in the order of execution; none where there is no prediction."""
        table = self._table(question)
        shares = self._shares(question, table) if table is not None else None
        yield from shares.operators if shares else ()

    def lacking(self, question: PredictionRequest) -> str | None:
        """Return what a prediction lacks and how to get it; None where it lacks nothing, or nothing can be done."""
        if not has_graph(question.conversion):
            return None
        name, table = question.conversion.name, self._table(question)
        advice = "run `almaflow calibrate --for model=...` with the model's overrides"
        if self.interpolate:
            timed = table is not None and any(each.source == SOURCE for each in table.entries.values())
            return None if timed else f"no operators of {name} were timed here; run `almaflow calibrate --operators`"
        if table is None:
            return f"no operators of {name} were timed on {question.hardware.name}; {advice} there"
        graph = graph_of(question.model, question.conversion, question.hardware.threads)
        missing = missing_operators(graph, table)
        return f"{len(missing)} operators of {name} were not timed here; {advice}" if missing else None

    @staticmethod
    def _table(question: PredictionRequest) -> OperatorTable | None:
        return load_table(question.conversion.name, question.hardware) if has_graph(question.conversion) else None

    def _shares(self, question: PredictionRequest, table: OperatorTable) -> _Shares | None:
        graph = graph_of(question.model, question.conversion, question.hardware.threads)
        if not self.interpolate:
            return None if missing_operators(graph, table) else _Shares(shares_of(graph, table))
        if not any(each.source == SOURCE for each in table.entries.values()):
            return None
        return interpolated_shares(graph, table)


@dataclass(frozen=True)
class _Shares:
    operators: list[OperatorShare]
    deviation: float = 0.0
    """Relative standard deviation of their sum, by what interpolation knows of itself."""


def interpolated_shares(graph: OperatorGraph, table: OperatorTable) -> _Shares:
    """Return the share of each operator by other shapes of the table, and the deviation of the sum."""
    places = [place for place, each in enumerate(graph.operators) if not each.is_view]
    found = interpolate([graph.operators[place] for place in places], table)
    times: list[OperatorTime | None] = [None] * len(graph.operators)
    for place, each in zip(places, found.times, strict=True):
        times[place] = each
    microseconds = operator_us(graph, times, table.rest)
    deviation = relative_deviation(found, [microseconds[place] for place in places])
    shares = [
        OperatorShare(operator, each / 1000, time)
        for operator, each, time in zip(graph.operators, microseconds, times, strict=True)
    ]
    return _Shares(shares, deviation)


def missing_operators(graph: OperatorGraph, table: OperatorTable) -> list[Operator]:
    """Return the distinct operators of a graph that the table has no time of, in their order."""
    distinct = {each.key: each for each in graph.operators if not each.is_view}
    return [each for key, each in distinct.items() if key not in table.entries and not _negligible(each, table)]


def _negligible(operator: Operator, table: OperatorTable) -> bool:
    """Whether it does not run alone, and moves so little that the time of a node covers it: sizes of tensors, say."""
    return operator.key in table.untimed and operator.read_bytes + operator.written_bytes <= NEGLIGIBLE_BYTES


def shares_of(graph: OperatorGraph, table: OperatorTable) -> list[OperatorShare]:
    """Return the share of each operator, all of which are in the table."""
    entries = [None if each.is_view else table.entries.get(each.key) for each in graph.operators]
    microseconds = operator_us(graph, entries, table.rest)
    return [
        OperatorShare(operator, each / 1000, entry)
        for operator, each, entry in zip(graph.operators, microseconds, entries, strict=True)
    ]


def interval(errors: Sequence[float], deviation: float = 0.0) -> tuple[float | None, float | None]:
    """Return the factors that 90 of 100 ratios of measured over predicted time lie between; None where not known.

    Args:
        errors: Ratios of chains that were held out.
        deviation: Relative standard deviation of what was interpolated besides.
    """
    own = NINETY * deviation
    if len(errors) < FEWEST_ERRORS:
        return (exp(-own), exp(own)) if own else (None, None)
    parts = quantiles(errors, n=20, method="inclusive")
    low, high = (hypot(log(each), own) for each in (min(1.0, parts[0]), max(1.0, parts[-1])))
    return exp(-low), exp(high)
