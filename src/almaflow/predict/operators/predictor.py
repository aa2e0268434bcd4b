"""A predictor that adds up the measured times of the operators that the runtime executes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, hypot
from typing import TYPE_CHECKING

from almaflow.errors import AlmaflowError, UsageError
from almaflow.predict.operators.graphs import graph_of, has_graph
from almaflow.predict.operators.interpolate import SOURCE, interpolate, relative_deviation
from almaflow.predict.operators.tables import load_table
from almaflow.predict.operators.versions import RUNTIMES
from almaflow.records import Prediction
from almaflow.records.operator_calls import call_us, operator_us

if TYPE_CHECKING:
    from collections.abc import Iterator

    from almaflow.records import PredictionRequest
    from almaflow.records.operators import Operator, OperatorGraph, OperatorTable, OperatorTime

NINETY = 1.645
"""Standard deviations on either side that hold 90 of 100 values of a normal distribution."""
NEGLIGIBLE_BYTES = 16_384
"""Bytes that an operator moves at most for the time of a node to cover it."""


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
        """Return None where the machine has no table, the table lacks an operator, or the conversion failed.

        Raises:
            UsageError: the model does not build.
        """
        shares = self._shares(question)
        if shares is None:
            return None
        latency_ms = sum(share.total_ms for share in shares.operators) + shares.call_ms
        made = Prediction(latency_ms, self.name, shares.version)
        if not shares.deviation:  # in eager mode nothing says how far off the sum of measured operators is
            return made
        factor = exp(NINETY * shares.deviation)
        return replace(made, low_ms=latency_ms / factor, high_ms=latency_ms * factor)

    def costs(self, question: PredictionRequest) -> Iterator[OperatorShare]:
        """Yield the share of each operator in the order of execution; none where there is no prediction."""
        shares = self._shares(question)
        yield from shares.operators if shares else ()

    def lacking(self, question: PredictionRequest) -> str | None:
        """Return what a prediction lacks and how to get it; None where it lacks nothing, or nothing can be done."""
        name, known = question.conversion.name, ", ".join(RUNTIMES)
        if not has_graph(question.conversion):
            only = f"operators are timed one by one on the CPU only, for {known}"
            return None if question.conversion.unavailable else f"{only}; ask another predictor"
        table = self._table(question)
        advice = "run `almaflow calibrate --for model=...` with the model's overrides"
        if self.interpolate and not _has_configs(table):
            return f"no operators of {name} were timed here; run `almaflow calibrate --operators`"
        if table is None:
            return f"no operators of {name} were timed on {question.hardware.name}; {advice} there"
        try:
            graph = graph_of(question.model, question.conversion, question.hardware.threads)
        except AlmaflowError as error:
            return str(error)
        missing = [] if self.interpolate else missing_operators(graph, table)
        return f"{len(missing)} operators of {name} were not timed here; {advice}" if missing else None

    @staticmethod
    def _table(question: PredictionRequest) -> OperatorTable | None:
        return load_table(question.conversion.name, question.hardware) if has_graph(question.conversion) else None

    def _shares(self, question: PredictionRequest) -> _Shares | None:
        table = self._table(question)
        if table is None or (self.interpolate and not _has_configs(table)):
            return None
        try:
            graph = graph_of(question.model, question.conversion, question.hardware.threads)
        except UsageError:
            raise
        except AlmaflowError:  # of this conversion: others have predictions all the same
            return None
        call_ms = call_us(graph, table.rest) / 1000
        if self.interpolate:
            operators, deviation = interpolated_shares(graph, table)
            return _Shares(operators, call_ms, table.version, hypot(deviation, table.rest.get("deviation", 0.0)))
        if missing_operators(graph, table):
            return None
        return _Shares(shares_of(graph, table), call_ms, table.version, table.rest.get("deviation", 0.0))


def _has_configs(table: OperatorTable | None) -> bool:
    return table is not None and any(each.source == SOURCE for each in table.entries.values())


@dataclass(frozen=True)
class _Shares:
    operators: list[OperatorShare]
    call_ms: float
    version: str
    deviation: float = 0.0
    """Relative standard deviation of their sum, by what chains showed and interpolation knows of itself; 0: unknown."""


def interpolated_shares(graph: OperatorGraph, table: OperatorTable) -> tuple[list[OperatorShare], float]:
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
    return shares, deviation


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
