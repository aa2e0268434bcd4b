"""Lists the operators that eager PyTorch dispatches for a model, and times single ones. Imports torch: for workers."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from almaflow.models.dispatched import Dispatched, DispatchWatch, place_name
from almaflow.records.operators import Operator, OperatorGraph
from almaflow.worker.operators.aten_calls import described

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from almaflow.records import ModelSpec, PlannedConversion

WHOLE_ATTENTION = "_native_multi_head_attention"
WHOLE_LAYER = "_transformer_encoder_layer_fwd"
"""Kernels of eager PyTorch for all of ``nn.MultiheadAttention`` and for an encoder's layer; no fake one exists."""


class Recorder(DispatchWatch):
    """Describes every operator on its way to the fake kernels, those on weights too: eager computes them each time."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: list[Operator] = []
        self.views = 0
        self._weights = {id(tensor) for tensor in weights}
        self._alive: list[torch.Tensor] = []
        """Every tensor seen so far, kept so that no two have the same id."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        if name not in {WHOLE_ATTENTION, WHOLE_LAYER}:
            return super().__torch_dispatch__(func, types, args, kwargs)
        output = torch.empty_like(args[0])
        inputs = [each for each in args if isinstance(each, torch.Tensor)]
        self.see(Dispatched(func, name, args, kwargs or {}, output, inputs, [output]))
        return (output, None) if name == WHOLE_ATTENTION else output

    def see_view(self, inputs: list[torch.Tensor], outputs: list[torch.Tensor]) -> None:
        self.views += 1
        self._alive += [*inputs, *outputs]
        if inputs and id(inputs[0]) in self._weights:
            self._weights.update(map(id, outputs))

    def see(self, call: Dispatched) -> None:
        self._alive += [*call.inputs, *call.outputs]
        operator = described(call, self._weights)
        self.operators.append(replace(operator, name=place_name(call.name, len(self.operators))))


def graph(spec: ModelSpec, planned: PlannedConversion, threads: int, _scratch: Path) -> OperatorGraph:
    """List the operators of one call, on tensors without values where the model can be built so.

    Raises:
        UsageError: the model or its inputs do not build.
        Exception: the model's code depends on values, which fake tensors do not have.
    """
    from almaflow.models.fake import on_fakes

    torch.set_num_threads(threads)
    operators, facts = on_fakes(spec, recorded)
    return OperatorGraph(planned.name, operators, {"torch": torch.__version__}, facts)


def recorded(model: torch.nn.Module, batch: Sequence[torch.Tensor]) -> tuple[tuple[Operator, ...], dict[str, float]]:
    """Return the operators of one call on fake tensors, and how often a module and a view are called.

    Args:
        model: A model, real or built on fake tensors.
        batch: Its inputs, likewise.
    """
    weights = [*model.parameters(), *model.buffers()]
    fakes = (getattr(each, "fake_mode", None) for each in (*weights, *batch))
    mode = next((each for each in fakes if each is not None), None) or FakeTensorMode(allow_non_fake_inputs=True)
    recorder = Recorder(weights)
    with torch.no_grad(), mode, _counting_modules() as modules:
        inputs = [tensor if getattr(tensor, "fake_mode", None) else mode.from_tensor(tensor) for tensor in batch]
        with recorder:
            model(*inputs)
    return tuple(recorder.operators), {"views": float(recorder.views), "modules": float(modules[0])}


@contextmanager
def _counting_modules() -> Iterator[list[int]]:
    """Count the calls of modules, each of which costs Python some microseconds."""
    count = [0]

    def called(_module: torch.nn.Module, _inputs: object) -> None:
        count[0] += 1

    handle = torch.nn.modules.module.register_module_forward_pre_hook(called)
    try:
        yield count
    finally:
        handle.remove()
