#!/usr/bin/env bash
# Versions: openvino 2026.4.1, torch 2.14.1
# Behaviour: a model that returns a dict keeps its keys as names of the outputs when it is converted by tracing
#   (example_input), and loses them when it is converted by torch.export.
# Seen: by tracing the outputs are named "scores" and "boxes"; by export no output has such a name.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import openvino
import torch


class Detector(torch.nn.Module):
    def forward(self, x):
        return {"scores": x.sigmoid(), "boxes": x * 2}


example, keys = torch.zeros(1, 4), {"scores", "boxes"}
traced = openvino.convert_model(Detector().eval(), example_input=example)
exported = openvino.convert_model(torch.export.export(Detector().eval(), (example,)))
named = [{name for output in model.outputs for name in output.names} for model in (traced, exported)]
print("by tracing:", sorted(named[0]), "by export:", sorted(named[1]))
assert keys <= named[0]
assert not keys & named[1]
PYTHON
