#!/usr/bin/env bash
# Versions: openvino 2026.4.1, torch 2.14.1
# Behaviour: openvino.convert_model of an ExportedProgram with static shapes gives a model with dynamic shapes, which
#   answers for other sizes than those exported. model.reshape(shape) makes it static.
# Seen: exported for [1,3,16,16], the input is [?,3,?,?]; after reshape it is [1,3,16,16].
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import openvino
import torch

example = torch.zeros(1, 3, 16, 16)
exported = torch.export.export(torch.nn.Conv2d(3, 4, 3).eval(), (example,))
model = openvino.convert_model(exported)
before = model.inputs[0].partial_shape
print("converted:", before)
assert before.is_dynamic
model.reshape(list(example.shape))
print("reshaped:", model.inputs[0].partial_shape)
assert model.inputs[0].partial_shape.is_static
PYTHON
