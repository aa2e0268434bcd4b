"""Two results side by side: what differs between them, and whether it is more than noise."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from almaflow.analysis.quality import figures_in
from almaflow.records.hardware import machine_name
from almaflow.records.quality import DROP, SECTION
from almaflow.stats import Interval

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

INTERVAL = ("latency/ci_low", "latency/ci_high")
COMPARED = (
    "latency_ms",
    "latency/floor",
    "throughput",
    "speedup_vs_eager",
    "speedup_vs_inductor",
    "memory/peak_rss_mb",
    "memory/model_mb",
    "energy/j_per_sample",
    "fidelity/sqnr_db",
    "fidelity/top1_agreement",
    "prediction_error_pct",
    "time/convert",
    "time/first_call",
)
"""Metrics in the order in which they are shown; ``everything`` adds the others."""

SHARES = ("_agreement", "_share", "/top1", "/top5", "/accuracy", "/top1_drop", "/top5_drop", "/accuracy_drop")
"""Ends of the names of metrics from 0 to 1."""
ABSOLUTE = ("_pct", "_db", *SHARES)
"""Ends of the names of metrics that are shares or logarithms: a percentage of these says nothing."""

MATTERS = (
    "params.model",
    "params.input_shape",
    "params.dynamic",
    "params.device",
    "params.threads",
    "params.cpus",
    "params.dtype",
    "params.measure.streams",
    "params.measure.include_transfer",
    "tags.env.cpu",
    "tags.env.gpu",
    "tags.env.physical_cores",
)
"""Settings that have to agree: else the two results do not measure the same thing on the same machine, and a difference
in latency is no verdict on a runtime. Versions are not among them: people ask what a new version brings."""

EVALUATION = ("params.evaluate.target", "params.evaluate.kwargs", "params.evaluate.samples")
"""Settings that have to agree for figures of quality only."""

HIDDEN = ("tags.mlflow.", "tags.almaflow.")
"""Tags that tell who ran it, when, and how it ended, not what was measured."""
DIGEST = "tags.almaflow.digest."
"""Tags of the model's digests."""
MACHINE = "tags.almaflow.machine"
"""The random ID of the machine that measured it."""

FASTER, SLOWER, SAME, UNKNOWN, FAILED = "faster", "slower", "no difference", "not known", "failed"


@dataclass(frozen=True)
class Side:
    """One result: a conversion's run as the store has it."""

    label: str
    conversion: str
    metrics: Mapping[str, float]
    facts: Mapping[str, str]
    """Params and tags, as ``params.model`` and ``tags.env.torch``."""
    run_id: str = ""

    @property
    def workload(self) -> tuple[str, str, str]:
        """Model, batch size and conversion, which two results that are paired have in common."""
        return self.facts.get("params.model", ""), self.facts.get("params.batch_size", ""), self.conversion

    @property
    def conditions(self) -> tuple[str, ...]:
        """The workload with dynamic dimensions and hardware: what tells a result from a newer one of the same side."""
        return *self.workload, self.facts.get("params.dynamic", ""), self.facts.get("params.hardware", "")

    @property
    def machine(self) -> str:
        """The hardware with the beginning of its machine's ID, where one is known."""
        return machine_name(self.facts.get("params.hardware", ""), self.facts.get(MACHINE))

    @property
    def counts(self) -> bool:
        """Whether it has a latency that counts."""
        return "latency_ms" in self.metrics

    @property
    def ending(self) -> str:
        """The reason why it has no latency that counts, in a word."""
        return self.facts.get("tags.almaflow.failure") or self.facts.get("tags.almaflow.status") or "no latency"


@dataclass(frozen=True)
class Difference:
    """A metric of both results."""

    metric: str
    before: float | None
    after: float | None

    @property
    def points(self) -> float | None:
        """The change in points, for a metric that is in percent or decibels itself; None where either is not known."""
        if self.before is None or self.after is None or not self.metric.endswith(ABSOLUTE):
            return None
        return self.after - self.before

    @property
    def percent(self) -> float | None:
        """The change in percent of ``before``; None where either value is not known, or ``before`` is zero."""
        if self.before is None or self.after is None or self.before == 0:
            return None
        return 100 * (self.after - self.before) / abs(self.before)


@dataclass(frozen=True)
class Comparison:
    """Two results of the same model, batch size and conversion."""

    before: Side
    after: Side
    differences: tuple[Difference, ...]
    verdict: str
    """Verdict on the latency: ``faster``, ``slower``, ``no difference``, ``not known`` or ``failed``."""
    why: str
    settings: tuple[tuple[str, str, str], ...]
    """Name, first and second value of every param and environment tag that differs."""
    incomparable: tuple[str, ...]
    """Settings that have to agree, and do not."""
    warnings: tuple[str, ...]
    """Reasons why the two are not comparable: those, another model, and another evaluation."""
    other_evaluation: tuple[str, ...] = ()
    """Settings of the evaluations that differ, so that figures of quality are not comparable."""


def compare(before: Side, after: Side, *, everything: bool = False) -> Comparison:
    """Compare two results.

    The verdict is on ``latency_ms``: two medians differ where their 95% intervals over the rounds have no point in
    common. That is stricter than a test of the difference at the same level (Schenker and Gentleman, "On Judging the
    Significance of Differences by Examining the Overlap Between Confidence Intervals", The American Statistician 55,
    2001), which suits figures that also vary from process to process.

    Args:
        before: The result that ``after`` is compared with.
        after: The result that is called faster or slower.
        everything: Compare every metric, not only those that people decide by.
    """
    recorded = before.metrics.keys() | after.metrics.keys()
    settings = _settings(before, after)
    other_evaluation = tuple(_other_evaluation(settings))
    figures = () if other_evaluation else sorted(figures_in(recorded))
    evaluated = (f"{SECTION}{each}{end}" for each in figures for end in ("", DROP[0]))
    names = [name for name in (*COMPARED, *evaluated) if name in recorded or name == "latency_ms"]
    if everything:
        names += sorted(recorded - set(names))
    differences = tuple(Difference(name, before.metrics.get(name), after.metrics.get(name)) for name in names)
    differing = {name: (first, second) for name, first, second in settings}
    incomparable = tuple(
        f"{name.split('.', 1)[1]} differs: {differing[name][0] or 'none'}, {differing[name][1] or 'none'}"
        for name in MATTERS
        if name in differing
    )
    warnings = (*incomparable, *_other_model(settings), *other_evaluation)
    verdict, why = _verdict(before, after)
    return Comparison(before, after, differences, verdict, why, settings, incomparable, warnings, other_evaluation)


def _other_model(settings: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    digests = [(name.removeprefix(DIGEST), all(values)) for name, *values in settings if name.startswith(DIGEST)]
    if differing := [name for name, known in digests if known]:
        yield f"the model is another one: {', '.join(differing)}"
    if unknown := [name for name, known in digests if not known]:
        yield f"the model may be another one, not known of both: {', '.join(unknown)}"


def _other_evaluation(settings: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    for name, first, second in settings:
        if name in EVALUATION and first and second:
            yield f"quality is not compared, {name.removeprefix('params.')} differs: {first}, {second}"


def _settings(before: Side, after: Side) -> tuple[tuple[str, str, str], ...]:
    names = sorted(before.facts.keys() | after.facts.keys())
    return tuple(
        (name, before.facts.get(name, ""), after.facts.get(name, ""))
        for name in names
        if (name == MACHINE or name.startswith(DIGEST) or not name.startswith(HIDDEN))
        and before.facts.get(name) != after.facts.get(name)
    )


def _verdict(before: Side, after: Side) -> tuple[str, str]:
    for side in (before, after):
        if not side.counts:
            return FAILED, f"{side.label}: {side.ending}"
    first, second = _interval(before), _interval(after)
    if first is None or second is None:
        return UNKNOWN, "too few rounds for an interval"
    if second.high < first.low:
        return FASTER, "the intervals have no point in common"
    if second.low > first.high:
        return SLOWER, "the intervals have no point in common"
    return SAME, "the intervals overlap"


def _interval(side: Side) -> Interval | None:
    low, high = (side.metrics.get(name) for name in INTERVAL)
    return None if low is None or high is None else Interval(low, high)


def pair(before: Sequence[Side], after: Sequence[Side]) -> tuple[list[tuple[Side, Side]], list[Side]]:
    """Return the results with their counterparts, and those that have none.

    A counterpart with the same dynamic dimensions comes first.

    Where both sides have a single result, the two are paired whatever they are.
    """
    if len(before) == len(after) == 1:
        return [(before[0], after[0])], []
    pairs: list[tuple[Side, Side]] = []
    left, right = list(before), list(after)
    for key in (attrgetter("conditions"), attrgetter("workload")):
        others = {key(side): side for side in right}
        found = [(side, others.pop(key(side))) for side in left if key(side) in others]
        pairs += found
        left = [side for side in left if all(side is not one for one, _ in found)]
        right = [side for side in right if all(side is not other for _, other in found)]
    return pairs, [*left, *right]
