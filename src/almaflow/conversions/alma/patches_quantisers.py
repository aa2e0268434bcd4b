"""Patch how Alma calls quantisers: quanto, FX graph mode, torchao."""

from __future__ import annotations

import copy
import importlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import torch

from almaflow.conversions.alma.repairs import xnnpack_quantizer
from almaflow.conversions.built.float_form import FloatForm

if TYPE_CHECKING:
    from almaflow.conversions.alma.build_context import AlmaBuild

INT4_ROWS = 16
"""PyTorch's int4 kernels for CPUs take layers whose number of outputs is a multiple of this."""
INT4_GROUP = 128
"""They also need a number of inputs that is a multiple of this; otherwise weights are unpacked in each product."""


def quanto_calibration(building: AlmaBuild) -> Any:
    """Calibrate the scales of activations before the weights are frozen."""
    module = importlib.import_module("alma.conversions.options.optimum_quanto")
    freeze = module.freeze

    def calibrate_and_freeze(model: Any) -> None:
        from optimum.quanto import Calibration

        with torch.no_grad(), Calibration():
            for example in building.calibration:
                model(example)
        building.calibration_batches = len(building.calibration)
        freeze(model)

    return patch.object(module, "freeze", calibrate_and_freeze)


def fx_calibration(building: AlmaBuild) -> Any:
    """Calibrate, fix the scales, and use the statistics stored in the model."""
    module = importlib.import_module("alma.conversions.options.fake_quant")
    prepare = module.prepare_qat_fx

    def prepare_and_calibrate(*args: Any, **kwargs: Any) -> Any:
        prepared = prepare(*args, **kwargs).eval()  # in training mode it would use the statistics of each batch
        quantisers = [module for module in prepared.modules() if hasattr(module, "enable_static_observation")]
        for quantiser in quantisers:
            quantiser.enable_static_observation()
        with torch.no_grad():
            for example in building.calibration:
                prepared(example)
        building.calibration_batches = len(building.calibration)
        for quantiser in quantisers:  # scales are fixed from here on
            quantiser.toggle_observer_update(enabled=False)
            quantiser.toggle_fake_quant(enabled=True)
        return prepared

    return patch.object(module, "prepare_qat_fx", prepare_and_calibrate)


def fx_error(_building: AlmaBuild) -> Any:
    """Replace the function that hides the error of FX quantisation."""
    module = importlib.import_module("alma.conversions.options.fake_quant")

    def quantise(model: Any, example: Any) -> Any:
        return module._fx_quantize(model, example).to(example.device)  # noqa: SLF001 - the part that may raise

    users = (module, importlib.import_module("alma.conversions.options.quant_edge_convert"))
    with ExitStack() as stack:
        for user in users:
            stack.enter_context(patch.object(user, "fx_quantize", quantise))
        return stack.pop_all()


def xnnpack_integers(_building: AlmaBuild) -> Any:
    """Keep number arguments of integer additions and products; only floating ones need tensors to observe."""
    module: Any = xnnpack_quantizer()
    convert = module._convert_scalars_to_attrs  # noqa: SLF001 - torchao has no public place for it

    def convert_floats(model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        arithmetic = (torch.ops.aten.add.Tensor, torch.ops.aten.mul.Tensor)
        nodes = [node for node in model.graph.nodes if node.target in arithmetic]
        before = {node: node.args for node in nodes if not node.meta["val"].is_floating_point()}
        converted: torch.fx.GraphModule = convert(model)
        for node, args in before.items():
            added = [new for new, old in zip(node.args, args, strict=True) if new is not old]
            node.args = args
            for constant in added:
                converted.graph.erase_node(constant)
        converted.recompile()
        return converted

    return patch.object(module, "_convert_scalars_to_attrs", convert_floats)


def pt2e_float_form(building: AlmaBuild) -> Any:
    """Keep the graph as it was exported, on the weights that the model holds anyway, and calibrate the other one."""
    module = importlib.import_module("alma.conversions.options.export_quant")
    prepare = module.prepare_pt2e

    def keep_and_prepare(model: torch.fx.GraphModule, *args: Any) -> Any:
        floating = torch.fx.GraphModule(model, copy.deepcopy(model.graph))
        several = isinstance(building.examples[0], tuple)
        building.float_form = FloatForm(
            lambda: (lambda *inputs: floating(inputs)) if several else floating,
        )
        prepared = prepare(model, *args)
        if own := building.calibration is not building.examples:
            with torch.no_grad():
                for example in building.calibration:
                    prepared(example)
        building.calibration_batches = len(building.calibration) if own else 1  # Alma shows it one batch
        return prepared

    return patch.object(module, "prepare_pt2e", keep_and_prepare)


def int4_weight_only(building: AlmaBuild) -> Any:
    """Use the device's int4 kernels, or weights that are unpacked in use if a layer does not fit these."""
    api = importlib.import_module("torchao.quantization.quant_api")
    linear = [module for module in building.model.modules() if isinstance(module, torch.nn.Linear)]

    def config() -> Any:
        if building.planned.device != "cpu":
            return api.Int4WeightOnlyConfig()
        in_groups = not any(layer.in_features % INT4_GROUP for layer in linear)
        if not in_groups or any(layer.out_features % INT4_ROWS for layer in linear):
            granularities = importlib.import_module("torchao.quantization.granularity")
            granularity = granularities.PerGroup(INT4_GROUP) if in_groups else granularities.PerAxis(0)
            return api.IntxWeightOnlyConfig(getattr(torch, "int4"), granularity)  # noqa: B009 - has no type
        if hasattr(api, "Int4PackingFormat"):
            int4 = importlib.import_module("torchao.prototype.quantization.int4")
            return int4.PrototypeInt4WeightOnlyConfig(INT4_GROUP, set_inductor_config=False)
        layouts = importlib.import_module("torchao.dtypes")
        return api.Int4WeightOnlyConfig(layout=layouts.Int4CPULayout(), set_inductor_config=False)

    return patch.object(api, "int4_weight_only", config, create=True)
