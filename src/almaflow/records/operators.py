"""Operators as a runtime executes them, after its own fusing, and tables of their times on one machine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY = 0.25
"""Processors that others use, as a share of the table's threads, from which on times count as disturbed; as in jobs."""
LAYOUT_PLAIN = ""
"""The layout of a tensor whose elements lie in the order of its dimensions."""


@dataclass(frozen=True)
class OperatorTensor:
    """An input or output of an operator."""

    dtype: str
    """The element type as PyTorch names it: ``float32``, ``int64`` ..."""
    shape: tuple[int, ...]
    layout: str = LAYOUT_PLAIN
    """How its elements lie, as the runtime names it: ``nChw16c``, ``channels_last`` ..."""
    constant: bool = False
    """Whether it is a weight or another constant of the model."""
    values: tuple[float, ...] | None = None
    """The values of a small constant, on which the work may depend: a shape, the ends of a slice, a scale."""
    bytes: float = 0.0
    """The memory that it takes."""


@dataclass(frozen=True)
class Operator:
    """One operator or kernel that a runtime executes, with all that its time depends on."""

    name: str
    """Its name in the graph; no part of the key."""
    kind: str
    """The type as the runtime names it, such as ``com.microsoft.nchwc:Conv``, ``Convolution`` or ``aten.addmm``."""
    attributes: dict[str, Any] = field(default_factory=dict)
    """Plain values: windows, strides, groups, fused operations, the kernel that the runtime chose."""
    inputs: tuple[OperatorTensor | None, ...] = ()
    """Inputs in the operator's order; None for an optional one that is not given."""
    outputs: tuple[OperatorTensor | None, ...] = ()
    flops: float = 0.0
    """FLOPs: two for a multiplication with its addition, or one for each written element where it is no product."""
    is_view: bool = False
    """Whether it only gives its input on under another shape: it computes nothing, and is not timed."""
    label: str = ""
    """The name of the model's layer that it came from, where the runtime keeps that."""

    @property
    def key(self) -> str:
        """20 hexadecimal digits that are equal for operators of equal time, whatever they are called."""
        data = asdict(self)
        for each in ("name", "label", "flops"):
            del data[each]
        return hashlib.sha256(json.dumps(data, sort_keys=True, default=str).encode()).hexdigest()[:20]

    @property
    def weight_bytes(self) -> float:
        """Size of its constants."""
        return sum(each.bytes for each in self.inputs if each and each.constant)

    @property
    def read_bytes(self) -> float:
        """Size of its inputs without the constants."""
        return sum(each.bytes for each in self.inputs if each and not each.constant)

    @property
    def written_bytes(self) -> float:
        """Size of its outputs."""
        return sum(each.bytes for each in self.outputs if each)


@dataclass(frozen=True)
class OperatorGraph:
    """The operators of one forward call of a model by one conversion, in the order in which they run."""

    conversion: str
    operators: tuple[Operator, ...]
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the packages that made the graph."""
    facts: dict[str, float] = field(default_factory=dict)
    """Figures of the whole call that a runtime's model of the rest needs, by their names there."""

    @property
    def weight_bytes(self) -> float:
        """Size of all constants, each counted for every operator that reads it."""
        return sum(each.weight_bytes for each in self.operators)


@dataclass(frozen=True)
class OperatorTime:
    """The measured time of one operator."""

    operator: Operator
    warm_us: float
    """Its floor in microseconds with its weights in the caches; without the overhead of the call that timed it."""
    cold_us: float | None = None
    """Its floor after the caches were filled with other data, its inputs just written; None: not measured."""
    spread: float = 0.0
    """The relative distance between the lowest and the middle of the moments at which it was timed."""
    source: str = "model"
    """Where its shape comes from: ``model`` of a user, or ``configs`` of architectures that calibration draws from."""
    others_cpus: float | None = None
    """Processors that other processes and the hypervisor used meanwhile; None: unknown."""


@dataclass(frozen=True)
class OperatorTable:
    """Times of single operators by one conversion on one machine."""

    conversion: str
    device: str
    processor: str
    """The name of the CPU or the GPU."""
    threads: int
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the runtime and of what exports to it: with others, the entries are of another table."""
    entries: dict[str, OperatorTime] = field(default_factory=dict)
    """Times by the operator's key."""
    untimed: dict[str, str] = field(default_factory=dict)
    """The reason by the key of an operator that does not run alone."""
    rest: dict[str, float] = field(default_factory=dict)
    """Parameters of the rest of a call, by their names in the runtime's model of it; empty: not measured yet."""
    rest_others_cpus: float | None = None
    """Processors that others used while the rest was measured; None: unknown."""
    models: dict[str, list[float]] = field(default_factory=dict)
    """Hyperparameters of what interpolates between entries, by class of operators."""
    day: str = ""
    """The day of the newest entry, as YYYY-MM-DD."""

    @property
    def rest_is_wanted(self) -> bool:
        """Whether the rest of a call was not measured yet, or while others disturbed it."""
        return not self.rest or self.is_busy(self.rest_others_cpus)

    def is_busy(self, others_cpus: float | None) -> bool:
        """Whether others are known to have used so many processors that times with the table's threads are longer."""
        return others_cpus is not None and others_cpus >= BUSY * self.threads

    @property
    def disturbed(self) -> set[str]:
        """The keys of the entries that were timed while others disturbed them."""
        return {key for key, each in self.entries.items() if self.is_busy(each.others_cpus)}

    @property
    def version(self) -> str:
        """12 hexadecimal digits that change whenever an entry or a parameter does."""
        times = sorted((key, each.warm_us, each.cold_us, each.source) for key, each in self.entries.items())
        facts = [self.conversion, self.versions, times, sorted(self.untimed), self.rest, self.models]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class ComparedOperator:
    """Operators of one kind and the same sizes, as they were predicted and as a profiler measured them."""

    operator: Operator
    count: int
    predicted_ms: float
    """Of all of them together."""
    profiled_ms: float | None
    """None: the profiler saw other operators, or was not asked."""


def cold_share(weights_mb: float, rest: Mapping[str, float]) -> float:
    """Return the share of a model's weights that is in no cache when a call needs them.

    Args:
        weights_mb: The weights of the whole model in 10^6 bytes.
        rest: ``cache_mb``, up to which all weights stay in the caches, and ``spill_mb``: with so many more, none do.
    """
    spill_mb = rest.get("spill_mb", 0.0)
    return min(1.0, max(0.0, (weights_mb - rest.get("cache_mb", 0.0)) / spill_mb)) if spill_mb else 0.0
