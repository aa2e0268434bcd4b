#!/usr/bin/env bash
# Versions: torch 2.14.1, glibc
# Behaviour: code that inductor compiles for CPUs allocates its buffers anew in each call and frees them within it. In a
#   process that has freed no large block yet, glibc returns that memory to the system, and each call has page faults for
#   all of its activations again. Once the process has freed a single block of just below 32 MiB, there are none.
# Seen: some thousand page faults a call in a new process; hardly any after one malloc and free.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/packages.bash"
use runtimes
"$python" - <<'PYTHON'
import ctypes
import resource

import torch

torch.set_num_threads(1)
layers = [torch.nn.Conv2d(8, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.ReLU()]
model = torch.compile(torch.nn.Sequential(*layers, *layers, *layers).eval())
example = torch.rand(1, 8, 320, 320)
libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]


def faults(calls=10):
    """Page faults of one call."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        model(example)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / calls


with torch.no_grad():
    for _ in range(3):
        model(example)
    new = faults()
    libc.free(libc.malloc(32 * 2**20 - 2**16))
    model(example)
    kept = faults()
print(f"page faults a call: {new:.0f} in a new process, {kept:.0f} after a block of 32 MiB was freed")
assert new > 500 > 50 > kept
PYTHON
