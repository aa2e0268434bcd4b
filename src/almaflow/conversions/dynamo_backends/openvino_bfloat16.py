"""Make OpenVINO's torch.compile backend run models in bfloat16.

The backend (2026.4) feeds its partitions through NumPy, which has no bfloat16. Partitions with a bfloat16 input go back
to PyTorch silently, and those with a bfloat16 result, such as an embedding's, return nonsense. Here a partition takes
and returns float32 and converts inside.
"""

from __future__ import annotations

from typing import Any

import torch


def keep_bfloat16_partitions() -> None:
    """Keep partitions of bfloat16 graphs in OpenVINO from now on, as long as this process lives."""
    from openvino.frontend.pytorch.torchdynamo import execute

    original = execute.openvino_execute

    def infer(graph: Any, *inputs: Any, partition_id: int = 0, options: Any = None, **others: Any) -> Any:
        if not _has_bfloat16(graph, inputs):
            return original(graph, *inputs, partition_id=partition_id, options=options, **others)
        if partition_id not in execute.compiled_cache:
            compiled = _compile(graph, inputs, options)
            execute.compiled_cache[partition_id] = compiled
            execute.req_cache[partition_id] = compiled.create_infer_request()
        compiled, request = execute.compiled_cache[partition_id], execute.req_cache[partition_id]
        result = request.infer([_array(value) for value in inputs], share_inputs=True, share_outputs=True)
        tensors = [torch.from_numpy(result[output]) for output in compiled.outputs]
        tensors = [tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in tensors]
        return tensors[0] if len(tensors) == 1 else tensors

    execute.openvino_execute = infer


def _has_bfloat16(graph: Any, inputs: tuple[Any, ...]) -> bool:
    """Whether a partition takes bfloat16, or has bfloat16 weights and so returns it."""
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    tensors += [*graph.parameters(), *graph.buffers()]
    return any(tensor.dtype is torch.bfloat16 for tensor in tensors)


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


def _compile(graph: Any, inputs: tuple[Any, ...], options: Any) -> Any:
    """Compile a partition as the backend does, with bfloat16 inside and float32 outside."""
    from openvino import Core, PartialShape, Type
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.fx_decoder import TorchFXPythonDecoder
    from openvino.preprocess import PrePostProcessor

    front_end = FrontEndManager().load_by_framework("pytorch")
    decoder = TorchFXPythonDecoder(graph)  # has to outlive its conversion
    model = front_end.convert(front_end.load(decoder))
    for port, value in zip(model.inputs, inputs, strict=True):
        if not isinstance(value, torch.Tensor):
            message = f"a partition takes a {type(value).__name__} beside bfloat16"
            raise NotImplementedError(message)
        bfloat16 = value.dtype is torch.bfloat16
        port.get_node().set_element_type(Type.bf16 if bfloat16 else Type(_array(value).dtype))
        port.get_node().set_partial_shape(PartialShape(list(value.shape)))
    model.validate_nodes_and_infer_types()
    processor = PrePostProcessor(model)
    for ports, settings_of in ((model.inputs, processor.input), (model.outputs, processor.output)):
        for i, port in enumerate(ports):
            if port.element_type == Type.bf16:
                settings_of(i).tensor().set_element_type(Type.f32)
    return Core().compile_model(processor.build(), "CPU", options["config"])
