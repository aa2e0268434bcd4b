#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: a kernel of a loaded AOTInductor package does not check strides. It reads an input of the right shape in the
#   order of the example's memory, and answers for other numbers. Contiguous copies are answered rightly. Operators that
#   are not compiled but called in PyTorch, such as the product of a linear layer, do read strides.
# Seen: for a transposed input the answer differs from eager's; for its contiguous copy it does not.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch


class Shifts(torch.nn.Module):
    def forward(self, x):
        return x * 2 + 1


model, transposed = Shifts().eval(), torch.arange(16.0).reshape(4, 4).T
with torch.no_grad():
    exported = torch.export.export(model, (torch.ones(4, 4),))
    package = torch._inductor.aoti_compile_and_package(exported, package_path="model.pt2")
    compiled = torch._inductor.aoti_load_package(package)
    as_it_is, copied = [(compiled(x) - model(x)).abs().max().item() for x in (transposed, transposed.contiguous())]
print(f"off by {as_it_is:.2g} as it is, by {copied:.2g} after contiguous()")
assert copied < 1e-5 < 1 < as_it_is
PYTHON
