#!/usr/bin/env bash
# Versions: torch 2.14.1, onnxscript 0.7.2, onnxruntime 1.31.1
# Behaviour: torch.onnx.export with a dynamic batch (Dim.DYNAMIC) and an example of batch 1 writes the 1 into a model
#   whose code depends on it, declares the batch dynamic all the same, and fails or errs at other batches. With an
#   example of batch 2 the file is right. torch.export itself refuses the example of one.
# Seen: the file declares a name for the batch; a batch of 3 is refused by ONNX Runtime or has the wrong shape.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import contextlib
import io

import onnxruntime
import torch


class Positions(torch.nn.Module):
    """Adds a table that is expanded to the batch, as embeddings of positions are."""

    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.arange(4.0)[None])

    def forward(self, x):
        batch = x.shape[0]
        return (x + self.table.expand(batch, -1)).view(batch, 2, 2)


def batch_of_three(example):
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(Positions(), (example,), "model.onnx", dynamo=True, verbose=False,
                          dynamic_shapes={"x": {0: torch.export.Dim.DYNAMIC}})
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    try:
        answer = session.run(None, {"x": torch.ones(3, 4).numpy()})[0].shape
    except Exception as error:
        answer = type(error).__name__
    return session.get_inputs()[0].shape, answer


one, two = batch_of_three(torch.ones(1, 4)), batch_of_three(torch.ones(2, 4))
print("example of one:", *one, "- example of two:", *two)
assert two[1] == (3, 2, 2)
assert isinstance(one[0][0], str) and one[1] != (3, 2, 2)
PYTHON
