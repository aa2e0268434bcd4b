"""Makes the C library's allocator keep what is freed, so that a call finds the memory of the call before.

glibc maps a large block anew at each request, and returns memory to the system where much of it is free at the end of
the heap (mallopt(3)). Each page that comes back costs a page fault. Whether a call has such faults depends on what the
process has freed before, and on where its blocks lie: resnet18 in eager PyTorch with eight images had 18,800 faults a
call, a ninth of its time, mobilenet_v2 9,400 or 12,500 in one process or another. With one block of 32 MiB freed, which
is what a process that has run for a while looks like, small batches have none, and large ones still have these.
"""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Parameters of glibc's mallopt, from malloc.h."""
NEVER = 2**31 - 1
"""Free bytes at the end of the heap from which they are returned: the largest that mallopt takes."""
LARGEST_ADAPTING = 32 * 2**20 - 2**16
"""Bytes of the largest block that glibc's threshold adapts to; larger blocks are mapped each time."""


def keep_memory() -> None:
    """Let the allocator keep all memory that is freed.

    Libraries without mallopt take it for what it is: a block that comes and goes, to which some adapt.
    """
    libc = ctypes.CDLL(None)
    if sys.platform.startswith("linux") and hasattr(libc, "mallopt"):
        libc.mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, NEVER)
        return
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(libc.malloc(LARGEST_ADAPTING))
