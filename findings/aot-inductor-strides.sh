#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: a loaded AOTInductor package does not check strides. It reads an input of the right shape in the order of
#   the example's memory, and answers for other numbers. Contiguous copies are answered rightly.
# Seen: for a transposed input the answer differs from eager's; for its contiguous copy it does not.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch

torch.manual_seed(0)
model = torch.nn.Linear(8, 8).eval()
with torch.no_grad():
    exported = torch.export.export(model, (torch.randn(8, 8),))
    package = torch._inductor.aoti_compile_and_package(exported, package_path="model.pt2")
    compiled = torch._inductor.aoti_load_package(package)
    transposed = torch.randn(8, 8).T
    as_it_is, copied = [(compiled(x) - model(x)).abs().max().item() for x in (transposed, transposed.contiguous())]
print(f"off by {as_it_is:.2g} as it is, by {copied:.2g} after contiguous()")
assert copied < 1e-5 < 0.1 < as_it_is
PYTHON
