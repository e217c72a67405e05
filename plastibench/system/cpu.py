"""The processor that this process runs on."""

import os
import platform

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


def wait_briefly() -> None:
    """Let threads that wait for each other soon sleep, unless the user has decided; before torch is loaded.

    By default they spin for milliseconds, which beside other processes takes the cores from those that they
    wait for. To sleep at once makes steps of small layers up to twice as slow on idle cores; a thousand turns
    before, some microseconds, cost little in both cases.
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
