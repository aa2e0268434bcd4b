#!/usr/bin/env bash
# Versions: onnxruntime 1.31.1, onnx 1.23.2
# Behaviour: a Softmax between quantised neighbours is fused into QLinearSoftmax, which answers zeros where all elements
#   of a row are nearly equal. Attention over many tokens of an untrained or indifferent head is like that. Without
#   fusions the same file is right.
# Seen: 8 elements from -0.01 to 0.01: 0.125 each without fusions, 0 each with them.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use onnx
"$python" - <<'PYTHON'
import numpy
import onnxruntime
from onnx import TensorProto, helper

x = numpy.linspace(-0.01, 0.01, 8, dtype=numpy.float32)[None]
wanted = numpy.exp(x) / numpy.exp(x).sum()
constants = {"in_scale": 0.01 / 127, "in_zero": 128, "out_scale": wanted.max() / 255, "out_zero": 0}
graph = helper.make_graph(
    [
        helper.make_node("QuantizeLinear", ["x", "in_scale", "in_zero"], ["x8"]),
        helper.make_node("DequantizeLinear", ["x8", "in_scale", "in_zero"], ["x32"]),
        helper.make_node("Softmax", ["x32"], ["y32"], axis=-1),
        helper.make_node("QuantizeLinear", ["y32", "out_scale", "out_zero"], ["y8"]),
        helper.make_node("DequantizeLinear", ["y8", "out_scale", "out_zero"], ["y"]),
    ],
    "softmax",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, x.shape)],
    [
        helper.make_tensor(name, TensorProto.FLOAT if name.endswith("scale") else TensorProto.UINT8, [], [value])
        for name, value in constants.items()
    ],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
answers = {}
for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (answers[level],) = session.run(None, {"x": x})
print(f"largest of {wanted.max():.3f}: {answers['ORT_DISABLE_ALL'].max():.3f} without fusions,"
      f" {answers['ORT_ENABLE_ALL'].max():.3f} with them")
assert abs(answers["ORT_DISABLE_ALL"] - wanted).max() < 1e-3
assert answers["ORT_ENABLE_ALL"].max() == 0
PYTHON
