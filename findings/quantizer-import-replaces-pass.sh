#!/usr/bin/env bash
# Versions: torchao 0.18.0, torch 2.14.1
# Behaviour: importing torchao's quantiser for x86 sets inductor's pre_grad_custom_pass for the whole process. A pass of
#   the user's own that was set before is no longer called, and nothing says so.
# Seen: the own pass was called for a model that was compiled before the import, and not for one compiled after it.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch
import torch._inductor.config

called = []
torch._inductor.config.pre_grad_custom_pass = called.append
torch.compile(torch.nn.Linear(4, 4))(torch.zeros(1, 4))
before = len(called)
from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer

torch.compile(torch.nn.Linear(4, 8))(torch.zeros(1, 4))
print("own pass called before the import:", before, "after it:", len(called) - before)
assert before > 0
assert len(called) == before
assert torch._inductor.config.pre_grad_custom_pass is x86_inductor_quantizer.quant_lift_up
PYTHON
