"""The C library's memory allocator: freed memory is kept for the next layer instead of being returned.

A training step allocates and frees its activations each time. The C library maps tensors of megabytes one by
one and returns them at once, and the system fills every page of the next one with zeros, which on a CPU takes
up to a quarter of an evaluation.
"""

import ctypes
import platform
from functools import cache

TRIM_THRESHOLD = -1
"""M_TRIM_THRESHOLD of glibc's malloc.h: how much free memory at the heap's end is returned to the system."""
MMAP_MAX = -4
"""M_MMAP_MAX of glibc's malloc.h: how many allocations may be mapped individually."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next allocations; return whether the C library can.

    With glibc the heap then serves every size and never shrinks: the process keeps its peak memory until it
    ends. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
