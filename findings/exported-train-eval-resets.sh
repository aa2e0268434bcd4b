#!/usr/bin/env bash
# Versions: torchao 0.18.0, torch 2.14.1
# Behaviour: move_exported_model_to_eval puts the default eps of 1e-5 in the place of the one that a batch normalisation
#   was exported with, and move_exported_model_to_train a dropout of 0.5 in the place of the exported rate.
# Seen: after eval, eps 0.1 became 1e-05 and momentum 0.5 became 0.1, and the graph is off by a tenth and more from the
#   module; after train, a dropout of 0.1 became one of 0.5.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import torch
from torchao.quantization.pt2e import move_exported_model_to_eval, move_exported_model_to_train

torch.manual_seed(0)
images = torch.randn(4, 2, 3, 3)
norm = torch.nn.BatchNorm2d(2, eps=0.1, momentum=0.5).train()
graph = torch.export.export(norm, (images,)).module()
move_exported_model_to_eval(graph)
(node,) = [node for node in graph.graph.nodes if node.target is torch.ops.aten.batch_norm.default]
momentum, eps = node.args[6:8]
print("batch normalisation in evaluation: momentum", momentum, "eps", eps)
assert (momentum, eps) == (0.1, 1e-5)
with torch.no_grad():
    off = (graph(images) - norm.eval()(images)).abs().max().item()
print("off by", round(off, 3))
assert off > 0.05

graph = torch.export.export(torch.nn.Dropout(0.1).eval(), (images,)).module()
move_exported_model_to_train(graph)
(node,) = [node for node in graph.graph.nodes if node.target is torch.ops.aten.dropout.default]
print("dropout in training:", node.args[1])
assert node.args[1] == 0.5
PYTHON
