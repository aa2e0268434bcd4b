#!/usr/bin/env bash
# Versions: executorch 1.5.1, torch 2.14.1
# Behaviour: a program exported from contiguous inputs takes an input in channels-last without a word, reads its memory
#   in the other order, and answers wrongly. Other strides are refused.
# Seen: off by more than 0.1 for channels-last, right for its contiguous copy, an error for a transposed one.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import torch
from executorch.exir import to_edge_transform_and_lower
from executorch.runtime import Runtime

torch.manual_seed(0)


class Doubles(torch.nn.Module):
    def forward(self, x):
        return x * 2 + torch.arange(4.0)


x = torch.randn(1, 3, 4, 4)
program = to_edge_transform_and_lower(torch.export.export(Doubles(), (x,))).to_executorch()
method = Runtime.get().load_program(program.buffer).load_method("forward")
differences = [(method.execute([each])[0] - Doubles()(x)).abs().max().item()
               for each in (x, x.to(memory_format=torch.channels_last))]
print(f"off by {differences[0]:.2g} contiguous, by {differences[1]:.2g} channels-last")
assert differences[0] < 1e-5 < 0.1 < differences[1]
try:
    method.execute([x.transpose(2, 3)])
except RuntimeError as error:
    print("transposed:", error)
else:
    raise SystemExit("transposed: taken")
PYTHON
