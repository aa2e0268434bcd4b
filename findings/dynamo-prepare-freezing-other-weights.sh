#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: with torch._dynamo.config.prepare_freezing, meant for backends that treat weights as constants, a graph has
#   the weights of the module that it was made of, and no guard on that module: another module of the same class runs
#   the same graph, with the first one's weights. torch._inductor.config.freezing does not have this fault.
# Seen: of three linear layers that are called by one compiled function, the first is right, and the other two are off by
#   1 and more; each layer recompiles, and all three are right, without the setting.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import torch

torch.manual_seed(0)
layers = [torch.nn.Linear(8, 8) for _ in range(3)]
x = torch.randn(2, 8)


def step(layer, x):
    return layer(x)


for frozen in (False, True):
    torch._dynamo.reset()
    with torch.no_grad(), torch._dynamo.config.patch(prepare_freezing=frozen):
        compiled = torch.compile(step, backend="eager")
        errors = [(compiled(layer, x) - layer(x)).abs().max().item() for layer in layers]
    print(f"prepare_freezing={frozen}: largest errors {[round(error, 2) for error in errors]}")
    assert errors[0] < 1e-6 and all((error > 0.5) == frozen for error in errors[1:])
PYTHON
