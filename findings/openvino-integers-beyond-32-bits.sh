#!/usr/bin/env bash
# Versions: openvino 2026.4.1, torch 2.14.1
# Behaviour: the CPU plugin computes int64 in 32 bits, without a word; the output says int64.
# Seen: 2**32 + 5 comes back as 5 from x + 0.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import openvino
import torch


class Adds(torch.nn.Module):
    def forward(self, x, y):
        return x + y


inputs = torch.tensor([2**32 + 5]), torch.tensor([0])
model = openvino.compile_model(openvino.convert_model(Adds(), example_input=inputs), "CPU")
answer = model([each.numpy() for each in inputs])[0]
print(f"eager: {Adds()(*inputs).item()}, OpenVINO: {answer.item()} ({answer.dtype})")
assert answer.item() == 5
PYTHON
