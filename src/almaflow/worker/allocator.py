"""Brings the C library's allocator into the state of a process that has run for a while.

glibc maps a large block anew at each request, and returns memory to the system where much is free, until the process
frees such a block: from then on it keeps twice that much (mallopt(3), M_MMAP_THRESHOLD). Which block a process has
freed depends on what it did before, and without any a call pays for every page of its activations again. resnet18
compiled by inductor for one thread had 4,600 page faults a call, a fifth of its processor time; after one block of
32 MiB was freed it had none.
"""

from __future__ import annotations

import ctypes

LARGEST_ADAPTING = 32 * 2**20 - 2**16
"""Bytes of the largest block that glibc's threshold adapts to; larger blocks are mapped each time."""


def keep_memory() -> None:
    """Let the allocator keep up to 64 MiB, as in a process that has freed a block of 32 MiB.

    Other C libraries take it for what it is: a block that comes and goes.
    """
    libc = ctypes.CDLL(None)
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    libc.free.argtypes = [ctypes.c_void_p]
    libc.free(libc.malloc(LARGEST_ADAPTING))
