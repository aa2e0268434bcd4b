#!/usr/bin/env bash
# Versions: onnxruntime 1.31.1, onnx 1.23.2
# Behaviour: a default session makes a thread for each physical core of the machine and binds each to one of them, also
#   to processors that its process may not use (taskset). With intra_op_num_threads given, threads stay inside.
# Seen: started under `taskset -c 0`, a thread of the session is bound to a processor other than 0.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
if [ "$(lscpu --parse=CORE | grep -v '^#' | sort -u | wc -l)" -lt 2 ]; then
    echo "skipped: this needs two physical cores"
    exit 0
fi
use onnx
taskset -c 0 "$python" - <<'PYTHON'
import os

import onnx
import onnxruntime
from onnx import TensorProto, helper

value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [64, 64]) for name in "xy"]
graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "graph", value[:1], value[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def outside(threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    before = set(os.listdir("/proc/self/task"))
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    bound = [os.sched_getaffinity(int(thread)) for thread in set(os.listdir("/proc/self/task")) - before]
    del session
    return [sorted(processors) for processors in bound if processors - {0}]


default, given = outside(0), outside(2)
print("bound elsewhere by default:", default, "- with two threads given:", given)
assert default and not given
PYTHON
