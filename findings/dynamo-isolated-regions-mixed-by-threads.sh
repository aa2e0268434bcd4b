#!/usr/bin/env bash
# Versions: torch 2.14.1
# Behaviour: torch.compile(isolate_recompiles=True) keeps its graphs in a region of its own. Which region graphs go to is
#   one variable of the process, which each call sets and puts back: when threads call such a function for the first
#   time at once, a graph can land in the region without an ID, or in that of another torch.compile, and the variable
#   can stay at a region after all calls have ended.
# Seen: three threads call one newly compiled function, 30 times over: in about 20 of the 30 one graph or more lands
#   outside of the region of the function. One thread after the other: in none.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - 2>log <<'PYTHON' || { cat log >&2; exit 1; }
import threading

import torch
from torch._dynamo import eval_frame


def backend(graph, inputs):
    return graph.forward


def outside(at_once):
    count = 0
    for trial in range(30):
        scope = {}
        exec("def predict(x):\n    return x.tan()", scope)
        predict = scope["predict"]
        compiled = torch.compile(predict, backend=backend, isolate_recompiles=True)
        threads = [threading.Thread(target=compiled, args=(torch.ones(2),)) for _ in range(3)]
        for thread in threads:
            thread.start()
            if not at_once:
                thread.join()
        for thread in threads:
            thread.join()
        own = eval_frame._get_cache_entries_for_region(predict.__code__, compiled._isolate_recompiles_id)
        count += len(own) != eval_frame._get_total_cache_entry_count(predict.__code__)
    return count


print(f"one after the other: {outside(at_once=False)} of 30, at once: {outside(at_once=True)} of 30")
assert outside(at_once=False) == 0
assert outside(at_once=True) > 0
PYTHON
