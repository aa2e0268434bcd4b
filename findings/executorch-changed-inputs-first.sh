#!/usr/bin/env bash
# Versions: executorch 1.5.1, torch 2.14.1
# Behaviour: a model that changes an input in place gets more outputs: the changed input comes first, the model's own
#   output after it.
# Seen: the model returns one tensor; the program returns two, and the first is the changed input.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime


class Subtracts(torch.nn.Module):
    def forward(self, x):
        x.sub_(1)
        return x * 10


program = to_edge_transform_and_lower(torch.export.export(Subtracts(), (torch.ones(2),))).to_executorch()
outputs = Runtime.get().load_program(program.buffer).load_method("forward").execute([torch.full((2,), 3.0)])
print("outputs:", [each.tolist() for each in outputs])
assert [each.tolist() for each in outputs] == [[2.0, 2.0], [20.0, 20.0]]
PYTHON
