"""Memory of this process, held: what one layer frees, the next one gets, and the system is not asked again.

A training step allocates and frees its activations anew. Tensors of megabytes are mapped by the C library
one by one and given back at once, and the system fills every page of the next one with zeros: on a CPU
up to a quarter of an evaluation's seconds.
"""

from __future__ import annotations

import ctypes
import platform
from functools import cache

TRIM_THRESHOLD = -1
"""M_TRIM_THRESHOLD of glibc's malloc.h: how much must be free at the heap's end until it is given back."""
MMAP_MAX = -4
"""M_MMAP_MAX of glibc's malloc.h: how many allocations may be mapped by themselves at once."""


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next allocations; return whether the C library can.

    Of glibc: its heap serves every size and never shrinks, so the process holds its peak until it ends.
    Elsewhere nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
