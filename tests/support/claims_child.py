"""Builds conversions with spies on what compilers are told, and hears the witnesses of ``claims``."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from tests.support.claims import CLAIMS, Seen

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL = "convolutions"
SPIED = ("torch.export.export", "torch.jit.trace", "torch.jit.script")
SLOW = frozenset(
    [
        "AI8WI8_FLOAT_QUANTIZED",
        "AI8WI8_STATIC_QUANTIZED",
        "AOT_INDUCTOR",
        "AOT_INDUCTOR_PACKAGE",
        "COMPILE_INDUCTOR",
        "COMPILE_INDUCTOR_DEFAULT",
        "COMPILE_INDUCTOR_DEFAULT_EAGER_FALLBACK",
        "COMPILE_INDUCTOR_EAGER_FALLBACK",
        "COMPILE_INDUCTOR_FREEZING",
        "COMPILE_INDUCTOR_MAX_AUTOTUNE",
        "COMPILE_INDUCTOR_REDUCE_OVERHEAD",
        "COMPILE_ONNXRT",
        "COMPILE_OPENVINO",
        "COMPILE_TVM",
        "DYNAMO_EXPORT",
        "EXECUTORCH_XNNPACK",
        "ONNX_CPU",
        "ONNX_CPU_INT8_STATIC",
        "OPENVINO",
        "OPENVINO_BF16",
        "OPENVINO_FP16",
        "OPENVINO_INT8",
    ]
)
"""Steps that take seconds to build."""


def _complaints(name: str) -> dict[str, str]:
    """Build and call one conversion, and hear the witnesses of its steps."""
    import torch
    from tests.support.example_models import MODELS

    from almaflow.conversions.build import build
    from almaflow.conversions.built.model import BuildInputs
    from almaflow.conversions.catalogue.plan import plan

    torch._dynamo.reset()
    # What an earlier conversion compiled would be taken for this one's, past the spies.
    functorch: Any = importlib.import_module("torch._functorch.config")
    functorch.enable_autograd_cache = False
    torch._inductor.config.max_autotune = False  # Alma sets it for the whole process
    planned = plan([name], 1, "cpu", allow_device_override=True)[0]
    make, draw = MODELS[MODEL]
    torch.manual_seed(1)
    torch.set_num_threads(1)
    model, dtype = make().eval(), getattr(torch, planned.input_dtype)
    batches: list[Any] = [tuple(each.to(dtype) for each in draw(2)) for _ in range(2)]
    called: list[str] = []
    inductor: list[dict[str, Any]] = []
    with torch.no_grad():
        try:
            with ExitStack() as spies:
                for function in SPIED:
                    spies.enter_context(_spy(function, partial(called.append, function)))
                spies.enter_context(
                    _spy("torch._inductor.compile_fx._compile_fx_inner", lambda: inductor.append(_settings()))
                )
                converted = build(planned, model, BuildInputs(batches, 1))
                converted.call(batches[0])
            seen = Seen(converted, converted.evidence(), batches[0], called, inductor)
            if seen.evidence.fell_back:
                return {name: f"fell back: {seen.evidence.fell_back}"}
            found = {step: CLAIMS[step](seen) for step in planned.steps}
        except Exception as error:  # noqa: BLE001 - whatever a converter raises is the result
            return {name: f"{type(error).__name__}: {error}"}
    return {step: complaint for step, complaint in found.items() if complaint}


def _settings() -> dict[str, Any]:
    config: Any = importlib.import_module("torch._inductor.config")
    dynamo: Any = importlib.import_module("torch._dynamo.config")
    return {
        "max_autotune": config.max_autotune,
        "cudagraphs": config.triton.cudagraphs,
        "freezing": config.freezing,
        "suppress_errors": dynamo.suppress_errors,
    }


def _spy(function: str, note: Callable[[], None]) -> Any:
    module, _, name = function.rpartition(".")
    original = getattr(importlib.import_module(module), name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        note()
        return original(*args, **kwargs)

    return patch(function, spy)


def run(*, quick: bool) -> dict[str, Any]:
    from almaflow.conversions.catalogue import tiers
    from almaflow.conversions.catalogue.plan import plan

    planned = plan([each.name for each in tiers.everything()], 1, "cpu", allow_device_override=True)
    return {
        each.name: _complaints(each.name)
        for each in planned
        if each.unavailable is None and SLOW.isdisjoint(each.steps) == quick
    }


def run_claims_of_eager() -> dict[str, Any]:
    return run(quick=True)


def run_claims_of_compilers() -> dict[str, Any]:
    return run(quick=False)
