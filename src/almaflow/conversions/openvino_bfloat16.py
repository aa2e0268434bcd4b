"""OpenVINO's torch.compile backend for models in bfloat16.

The backend itself (2026.4) knows no such inputs and feeds its partitions through NumPy, which has no such type: each
partition goes back to PyTorch without a word. Here a partition takes and gives float32 and converts inside.
"""

from __future__ import annotations

from typing import Any

import torch


def keep_bfloat16_partitions() -> None:
    """From now on, for the life of this process, partitions of bfloat16 graphs stay in OpenVINO."""
    from openvino.frontend.pytorch.torchdynamo import execute

    theirs = execute.openvino_execute

    def infer(graph: Any, *inputs: Any, partition_id: int = 0, options: Any = None, **others: Any) -> Any:
        if not any(isinstance(value, torch.Tensor) and value.dtype is torch.bfloat16 for value in inputs):
            return theirs(graph, *inputs, partition_id=partition_id, options=options, **others)
        if partition_id not in execute.compiled_cache:
            compiled = _compile(graph, inputs, options)
            execute.compiled_cache[partition_id] = compiled
            execute.req_cache[partition_id] = compiled.create_infer_request()
        compiled, request = execute.compiled_cache[partition_id], execute.req_cache[partition_id]
        given = [value.detach().float().numpy() for value in inputs]
        result = request.infer(given, share_inputs=True, share_outputs=True)
        made = [torch.from_numpy(result[output]).bfloat16() for output in compiled.outputs]
        return made[0] if len(made) == 1 else made

    execute.openvino_execute = infer


def _compile(graph: Any, inputs: tuple[Any, ...], options: Any) -> Any:
    """What the backend does, with bfloat16 inside and float32 outside."""
    from openvino import Core, PartialShape, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
    from openvino.preprocess import PrePostProcessor

    front_end = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(graph)  # has to outlive its conversion
    model = front_end.convert(front_end.load(decoder))
    for place, value in zip(model.inputs, inputs, strict=True):
        if not isinstance(value, torch.Tensor) or value.dtype is not torch.bfloat16:
            message = f"a partition takes {getattr(value, 'dtype', type(value))} beside bfloat16"
            raise NotImplementedError(message)
        place.get_node().set_element_type(Type.bf16)
        place.get_node().set_partial_shape(PartialShape(list(value.shape)))
    model.validate_nodes_and_infer_types()
    processor = PrePostProcessor(model)
    for i in range(len(model.inputs)):
        processor.input(i).tensor().set_element_type(Type.f32)
    for i in range(len(model.outputs)):
        processor.output(i).tensor().set_element_type(Type.f32)
    return Core().compile_model(processor.build(), "CPU", options["config"])
