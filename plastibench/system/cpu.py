"""The processor that this process runs on, and the allocator of its memory."""

import os
import platform
from functools import cache

TRIM_THRESHOLD = -1
"""M_TRIM_THRESHOLD of glibc's malloc.h: how much free memory at the heap's end is returned to the system."""
MMAP_MAX = -4
"""M_MMAP_MAX of glibc's malloc.h: how many allocations may be mapped individually."""


WAIT_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What tells the OpenMP libraries of GNU, LLVM and Intel how threads wait."""
BRIEF_WAIT = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"}
"""What `wait_briefly` sets. GNU's library, which torch has on Linux, prefers the second to the first."""


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def max_threads() -> int:
    """Return how many threads a process may use: OMP_NUM_THREADS, or else the number of cores."""
    levels = os.environ.get("OMP_NUM_THREADS", "").split(",")  # one number per nesting level
    return max(1, int(levels[0])) if levels[0].strip().isdecimal() else num_cores()


def peak_memory() -> int | None:
    """Return the most bytes of memory that this process has had, or None if nobody counts them."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def wait_briefly() -> None:
    """Let threads that wait for each other soon sleep, unless the user has decided; before torch is loaded.

    By default they spin for milliseconds, which beside other processes takes the cores from those that they
    wait for. To sleep at once makes a step of ResNet-18 on two idle cores 10 to 15 % slower than to spin; the
    thousand turns that GNU's library makes first, some microseconds, cost neither much.
    """
    if wait_policy() is None:
        os.environ |= BRIEF_WAIT


def wait_policy() -> str | None:
    """Return the variables that say how waiting threads wait, with their values; None if none is set."""
    return ", ".join(f"{name}={os.environ[name]}" for name in WAIT_VARIABLES if name in os.environ) or None


def processor_name() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a regular file
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.processor() or platform.machine()


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next allocations; return whether the C library can.

    A training step allocates and frees its activations each time. The C library maps tensors of megabytes
    one by one and returns them at once, and the system fills every page of the next one with zeros, which on
    a CPU takes up to a quarter of an evaluation. With glibc the heap then serves every size and never
    shrinks: the process keeps its peak memory until it ends. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    import ctypes

    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0)) and bool(mallopt(TRIM_THRESHOLD, -1))
