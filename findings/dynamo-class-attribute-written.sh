#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: a forward that writes an attribute of its class (type(self).calls += 1) and then reads it through the
#   instance (self.calls) answers with the value before the write once it is compiled by torch.compile.
# Seen: eager answers 1, 2, 3; compiled 0, 1, 2. The attribute itself is 3 after either.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch


class Counts(torch.nn.Module):
    calls = 0

    def forward(self, x):
        type(self).calls += 1
        return x + self.calls


def answers(model):
    Counts.calls = 0
    return [int(model(torch.zeros(1))) for _ in range(3)] + [Counts.calls]


eager, compiled = answers(Counts()), answers(torch.compile(Counts(), backend="eager"))
print(f"three answers, then the attribute: eager {eager}, compiled {compiled}")
assert eager == [1, 2, 3, 3] and compiled == [0, 1, 2, 3]
PYTHON
