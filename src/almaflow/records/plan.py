"""Conversions as a job plans them."""

from __future__ import annotations

from dataclasses import dataclass

from almaflow.records.status import FailureKind

EAGER = "EAGER"
INDUCTOR = "COMPILE_INDUCTOR_DEFAULT"


@dataclass(frozen=True)
class RuntimeTraits:
    """What the catalogue knows of a conversion's runtime, so that nobody has to read it off names."""

    runtimes: tuple[str, ...] = ()
    """What runs it beside PyTorch: names under which a job's environment has the versions that count."""
    preload: tuple[str, ...] = ()
    """Modules that its worker imports anyway, in the order to import them."""
    profiler: str = "torch"
    """Which profiler of ``worker/profilers.py`` sees inside: ``torch``, ``inductor``, ``onnxruntime``, ``openvino``."""
    recommended_for: str | None = None
    """The use for which ``analysis/recommend.py`` considers it, where its runtime decides that."""
    dynamo: bool = False
    """Whether torch.compile captures the model, which takes seconds even for a small one."""
    emulated: bool = False
    """Whether narrow numbers are only emulated in float32."""
    fuses_elementwise: bool = True
    """Whether elementwise operations are computed together with what made their input."""
    keeps_memory: bool = False
    """Whether the runtime keeps the memory that a call needed for the next one, as PyTorch does on a GPU."""
    replaces_weights: bool = False
    """Whether a quantiser puts tensors of its own class in the place of weights."""
    quantises_graph: bool = False
    """Whether a quantiser rewrites the model's graph, so that the graph tells what it quantised."""
    picks_by_timing: bool = False
    """Whether converting it chooses kernels by timing them, beside which nothing else may compute."""


UNKNOWN = RuntimeTraits()
"""Of a runtime that the catalogue does not know."""


@dataclass(frozen=True)
class PlannedConversion:
    """A conversion of the catalogue, resolved for one machine and one device."""

    name: str
    requested: str
    """The name, alias or number that the user gave."""
    family: str
    steps: tuple[str, ...]
    engine: str
    """Who builds it: ``alma``, ``native`` or ``registered``."""
    device: str
    """Where it will run, which an override may have moved from the hardware's device."""
    dtype: str
    """Arithmetic type of the converted model: float32, float16, bfloat16, int8, int4, float8 ..."""
    input_dtype: str = "float32"
    """What floating inputs are cast to before the timed call."""
    device_override: bool = False
    unavailable: str | None = None
    """Why it cannot run here."""
    unavailable_kind: FailureKind | None = None
    install: str | None = None
    builder: str | None = None
    """``module:function`` of one that another package has registered."""
    traits: RuntimeTraits = UNKNOWN
    """Of its runtime; unknown in files of before there were any, until ``catalogue.plan.with_traits`` fills them."""
