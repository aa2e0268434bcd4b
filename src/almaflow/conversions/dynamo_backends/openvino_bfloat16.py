"""OpenVINO's torch.compile backend for models in bfloat16.

The backend itself (2026.4) feeds its partitions through NumPy, which has no such type: those with an input in bfloat16
go back to PyTorch without a word, and those with a result in it, such as an embedding's, answer nonsense. Here a
partition takes and gives float32 and converts inside.
"""

from __future__ import annotations

from typing import Any

import torch


def keep_bfloat16_partitions() -> None:
    """From now on, for the life of this process, partitions of bfloat16 graphs stay in OpenVINO."""
    from openvino.frontend.pytorch.torchdynamo import execute

    theirs = execute.openvino_execute

    def infer(graph: Any, *inputs: Any, partition_id: int = 0, options: Any = None, **others: Any) -> Any:
        if not _has_bfloat16(graph, inputs):
            return theirs(graph, *inputs, partition_id=partition_id, options=options, **others)
        if partition_id not in execute.compiled_cache:
            compiled = _compile(graph, inputs, options)
            execute.compiled_cache[partition_id] = compiled
            execute.req_cache[partition_id] = compiled.create_infer_request()
        compiled, request = execute.compiled_cache[partition_id], execute.req_cache[partition_id]
        result = request.infer([_array(value) for value in inputs], share_inputs=True, share_outputs=True)
        made = [torch.from_numpy(result[output]) for output in compiled.outputs]
        made = [tensor.bfloat16() if tensor.is_floating_point() else tensor for tensor in made]
        return made[0] if len(made) == 1 else made

    execute.openvino_execute = infer


def _has_bfloat16(graph: Any, inputs: tuple[Any, ...]) -> bool:
    """Whether a partition takes bfloat16, or holds weights in it and so gives it."""
    tensors = [value for value in inputs if isinstance(value, torch.Tensor)]
    tensors += [*graph.parameters(), *graph.buffers()]
    return any(tensor.dtype is torch.bfloat16 for tensor in tensors)


def _array(tensor: torch.Tensor) -> Any:
    tensor = tensor.detach()
    return (tensor.float() if tensor.dtype is torch.bfloat16 else tensor).numpy()


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
        if not isinstance(value, torch.Tensor):
            message = f"a partition takes a {type(value).__name__} beside bfloat16"
            raise NotImplementedError(message)
        bfloat16 = value.dtype is torch.bfloat16
        place.get_node().set_element_type(Type.bf16 if bfloat16 else Type(_array(value).dtype))
        place.get_node().set_partial_shape(PartialShape(list(value.shape)))
    model.validate_nodes_and_infer_types()
    processor = PrePostProcessor(model)
    for ports, place_of in ((model.inputs, processor.input), (model.outputs, processor.output)):
        for i, port in enumerate(ports):
            if port.element_type == Type.bf16:
                place_of(i).tensor().set_element_type(Type.f32)
    return Core().compile_model(processor.build(), "CPU", options["config"])
