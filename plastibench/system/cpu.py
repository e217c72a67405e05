"""The processor that this process runs on."""

import os
import platform


def num_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def max_threads() -> int:
    """Return how many threads a process may use: OMP_NUM_THREADS, or else the number of cores."""
    levels = os.environ.get("OMP_NUM_THREADS", "").split(",")  # one number per nesting level
    return max(1, int(levels[0])) if levels[0].strip().isdecimal() else num_cores()


def processor_name() -> str:
    """Return the processor's name."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a regular file
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return models[0] if models else platform.processor() or platform.machine()
