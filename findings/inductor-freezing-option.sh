#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: torch.compile(model, options={"freezing": True}) does not freeze. Dynamo has handed the weights over as
#   inputs before inductor reads its options. Patching inductor's config around the first call does freeze.
# Seen: weights that are zeroed after compiling change the answer in the first case (0.0), and not in the second.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch
from torch._inductor import config

inputs = torch.ones(2, 8)


def answer_without_weights(patch, **options):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 4, bias=False).eval()
    compiled = torch.compile(model, **options)
    with torch.no_grad(), config.patch(freezing=patch):
        assert compiled(inputs).abs().sum() > 0
        model.weight.zero_()
        return compiled(inputs).abs().sum().item()


asked, patched = answer_without_weights(False, options={"freezing": True}), answer_without_weights(True)
print(f"without weights: {asked:.3g} by the option, {patched:.3g} by the patch")
assert asked == 0 < patched
PYTHON
