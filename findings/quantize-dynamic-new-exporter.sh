#!/usr/bin/env bash
# Versions: onnxruntime 1.31.1, torch 2.14.1, onnxscript 0.7.2, onnx 1.23.2
# Behaviour: onnxruntime.quantization.quantize_dynamic refuses files of torch.onnx.export(dynamo=True): the exporter
#   notes the shapes of weights that are transposed again, and shape inference then finds two shapes. With the notes
#   (graph.value_info) removed it works.
# Seen: an error about inferred shapes; without value_info the file is quantised.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import contextlib
import io

import onnx
import torch
from onnxruntime.quantization import quantize_dynamic

model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4)).eval()
with contextlib.redirect_stdout(io.StringIO()):
    torch.onnx.export(model, (torch.ones(3, 8),), "model.onnx", dynamo=True, external_data=False)
try:
    quantize_dynamic("model.onnx", "int8.onnx")
except Exception as error:
    print("as it is:", type(error).__name__, str(error)[:120])
else:
    raise SystemExit("as it is: quantised")
noted = onnx.load("model.onnx")
del noted.graph.value_info[:]
onnx.save(noted, "bare.onnx")
quantize_dynamic("bare.onnx", "int8.onnx")
operators = sorted({node.op_type for node in onnx.load("int8.onnx").graph.node})
print("without value_info:", *operators)
assert "MatMulInteger" in operators
PYTHON
