"""The allocator of a worker: what a call frees is there for the next one, as in a process that has run for a while."""

from __future__ import annotations

import subprocess
import sys

import pytest

CALLS = """
import ctypes, resource, sys
from almaflow.worker.allocator import keep_memory

libc = ctypes.CDLL(None)
libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
MIB = 2**20

def call():
    # More than 64 MiB in all, at the end of the heap, and one block above glibc's largest threshold.
    blocks = [libc.malloc(size * MIB) for size in [3] * 8 + [24, 24, 40]]
    for block in blocks:
        ctypes.memset(block, 1, 3 * MIB)
    for block in blocks:
        libc.free(block)

if sys.argv[1] == "kept":
    keep_memory()
call()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    call()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) // 5)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts page faults of glibc's allocator")
def test_a_call_gets_the_memory_that_the_last_one_freed() -> None:
    faults = {}
    for state in ("new", "kept"):
        ran = subprocess.run([sys.executable, "-c", CALLS, state], capture_output=True, text=True, check=True)
        faults[state] = int(ran.stdout)
    assert faults["kept"] < 20  # some of Python's own
    assert faults["new"] > 100 * max(faults["kept"], 1)  # 24 MiB are 6,144 pages, or fewer where they are huge
