"""Ask the package graphs, as a process of its own that answers an ``AnalysisRequest`` with an ``Answer``.

The names of graphs' modules and fields changed over time. Only what all versions have is used here: an analysis of a
module that the caller built, on a mapper that graphs makes for the name of a hardware.
"""

from __future__ import annotations

import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from almaflow.predict.graphs.messages import AnalysisRequest, Answer, Fault
from almaflow.predict.graphs.package import analyzer_module, find_home, version_at
from almaflow.records import from_dict, to_dict
from almaflow.records.child_entry import answer_once
from almaflow.secrets import mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

    import torch

    from almaflow.records import ModelSpec

MAPPERS = ("graphs.hardware.mappers.gpu", "graphs.hardware.mappers.cpu")
"""Modules with functions ``create_NAME_mapper``, for more hardware than the analyzer has names for."""

LATENCIES = ("total_latency_ms", "latency_ms")

ENERGIES = (
    ("total_energy_mj", 1e-3, False),
    ("energy_per_inference_mj", 1e-3, True),
    ("energy_per_inference_j", 1.0, True),
)
"""Fields, the factor that turns them into joules, and whether they are of one sample of the batch."""

NEEDLESS = ("run_memory", "run_operator_edp", "validate_consistency")
"""Parts of the analysis that add nothing to latency or energy."""

INSTALL = "pip install it from its GitHub repository, branes-ai/graphs"
"""PyPI's package of that name is another one."""


def _answered(request: AnalysisRequest) -> Answer:
    home = find_home()
    if home is None:
        return Answer(fault=Fault.MISSING, detail=f"graphs is not installed; {INSTALL}")
    version = version_at(home)
    if request.model is None:
        return Answer(version)
    try:
        return _analysed(request, request.model, version)
    except Exception as error:  # noqa: BLE001 - whatever graphs or the model raises is the answer
        return Answer(version, fault=Fault.FAILED, detail=f"{request.model.name}: {_line(error)}")


def _analysed(request: AnalysisRequest, model: ModelSpec, version: str) -> Answer:
    """Return the figures, or the fault that keeps graphs from giving them."""
    try:
        module = analyzer_module()
    except ModuleNotFoundError as error:
        return Answer(version, fault=Fault.MISSING, detail=f"graphs needs {error.name}, which is not installed")
    except ImportError as error:
        return Answer(version, fault=Fault.MISSING, detail=f"graphs cannot be used here ({error}); {INSTALL}")
    analyzer = module.UnifiedAnalyzer(verbose=False)
    mapper, names = _mapper(analyzer, request.hardware)
    if mapper is None:
        return Answer(version, fault=Fault.HARDWARE, detail=request.hardware, known=tuple(names))
    precision = _precision(_precisions(module), request.precisions, mapper)
    if precision is None:
        return Answer(version, fault=Fault.PRECISION, detail=", ".join(request.precisions))
    result = _result(model, analyzer, mapper, precision, _config(module))
    return _figures(result, model.batch_size, version)


# The hardware


def _mapper(analyzer: Any, name: str) -> tuple[Any, list[str]]:
    """Return the mapper of that name; where there is none, None and the names that graphs has."""
    try:
        # The public method takes names of models, too, and would not take the caller's model.
        return analyzer._create_hardware_mapper(name), []  # noqa: SLF001 - see above
    except ValueError as error:
        names = [word.strip().lower() for word in str(error).partition("Available:")[2].split(",") if word.strip()]
    factories = dict(_factories())
    make = factories.get(_dashed(name))
    return (make() if make else None), sorted({*names, *factories})


def _factories() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the functions that make a mapper, each with the hardware that its name contains."""
    for name in MAPPERS:
        try:
            functions = vars(import_module(name))
        except ImportError:
            continue
        for key, function in functions.items():
            if key.startswith("create_") and key.endswith("_mapper"):
                yield _dashed(key.removeprefix("create_").removesuffix("_mapper")), function


def _dashed(name: str) -> str:
    return name.lower().replace("_", "-").replace(" ", "-")


def _precisions(module: ModuleType) -> Any:
    """Return the enumeration that the analyzer takes its precisions from."""
    precisions = getattr(module, "Precision", None)
    return precisions if precisions is not None else import_module("graphs.hardware.resource_model").Precision


def _precision(kinds: Any, wanted: tuple[str, ...], mapper: Any) -> Any:
    """Return the first precision that graphs and this hardware have; None where they have none of them.

    Where the hardware lacks a precision, graphs silently takes the speed of another one.
    """
    offered = getattr(getattr(mapper, "resource_model", None), "precision_profiles", None)
    members = (kinds.__members__.get(name) for name in wanted)
    return next((member for member in members if member is not None and (not offered or member in offered)), None)


# The analysis


def _result(spec: ModelSpec, analyzer: Any, mapper: Any, precision: Any, options: dict[str, Any]) -> Any:
    from almaflow.models.build import build_example

    example = build_example(spec, 1)
    model, batch = _of_one_input(example.model, example.batches[0])
    return analyzer.analyze_model_with_custom_hardware(
        model=model,
        input_tensor=batch,
        model_name=spec.name,
        hardware_mapper=mapper,
        precision=precision,
        **options,
    )


def _of_one_input(model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return the model with a single input, which is all that graphs takes: further inputs become buffers."""
    import torch

    if len(batch) == 1:
        return model, batch[0]

    class Holding(torch.nn.Module):
        """A model and all its inputs but the first."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model
            for index, tensor in enumerate(batch[1:], start=1):
                self.register_buffer(f"input_{index}", tensor)

        def forward(self, first: torch.Tensor) -> Any:
            return self.model(first, *self.buffers(recurse=False))

    return Holding().eval(), batch[0]


def _config(module: ModuleType) -> dict[str, Any]:
    """Return the default configuration without the ``NEEDLESS`` parts; nothing where this version has none."""
    kind = getattr(module, "AnalysisConfig", None)
    if kind is None:
        return {}
    config = kind()
    for name in NEEDLESS:
        if hasattr(config, name):
            setattr(config, name, False)
    return {"config": config}


def _figures(result: Any, batch_size: int, version: str) -> Answer:
    latency_ms = next((value for name in LATENCIES if (value := _positive(result, name))), None)
    if latency_ms is None:
        return Answer(version, fault=Fault.FAILED, detail="graphs gave no latency")
    joules = (
        value * unit * (batch_size if of_sample else 1)
        for name, unit, of_sample in ENERGIES
        if (value := _positive(result, name))
    )
    return Answer(version, latency_ms, next(joules, None))


def _positive(result: Any, name: str) -> float | None:
    """Return the field's number; None where it is missing or not computed yet, as graphs marks by 0."""
    value = getattr(result, name, None)
    if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
        return None
    return float(value)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {mask(' '.join(str(error).split()))[:300]}"


if __name__ == "__main__":
    answer_once(lambda request: to_dict(_answered(from_dict(AnalysisRequest, request))))
