"""The memory of this process: how much it may have, how much it has had, what it keeps when freed."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ctypes

TRIM_THRESHOLD = -1
"""M_TRIM_THRESHOLD of glibc's malloc.h: how much free memory at the heap's end is returned to the system."""
MMAP_MAX = -4
"""M_MMAP_MAX of glibc's malloc.h: how many allocations may be mapped individually."""
GROUPS = Path("/sys/fs/cgroup")
"""Where Linux keeps the limits of containers and of a scheduler's jobs."""


def total_memory() -> int | None:
    """Return the bytes that processes here may have: the machine's, or those of the container or job.

    None if nobody says.
    """
    found = list[int]()
    with suppress(OSError):  # only Linux has control groups
        found += group_limits(Path("/proc/self/cgroup").read_text(encoding="utf-8"), GROUPS)
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        found.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return min(found, default=None)


def group_limits(groups: str, mounted: Path) -> Iterator[int]:
    """Yield the limits of memory, in bytes, of control groups and of all groups around them.

    `groups` is what /proc/self/cgroup says of a process, by version 1 or 2; `mounted` has their files.
    """
    for line in groups.splitlines():
        _, controllers, place = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
        group = root / place.lstrip("/")
        for folder in (group, *group.parents):
            with suppress(OSError, ValueError):  # no file, or no limit: "max"
                yield int((folder / name).read_text(encoding="utf-8"))
            if folder == root:
                break


def peak_memory() -> int | None:
    """Return the most bytes that this process has had since `reset_peak_memory`, or None if unknown."""
    try:  # getrusage would have those of the process that started this one
        with open("/proc/self/status", encoding="utf-8") as file:  # noqa: PTH123 - not a regular file
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if platform.system() == "Darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def reset_peak_memory() -> None:
    """Let `peak_memory` begin anew from what this process has now; only Linux can."""
    with suppress(OSError), open("/proc/self/clear_refs", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("5")


@cache
def _c_library() -> ctypes.CDLL | None:
    """Return glibc if that is the C library: the functions used here are its own."""
    if platform.libc_ver()[0] != "glibc":
        return None
    import ctypes

    return ctypes.CDLL(None)


@cache
def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next allocations; return whether the C library can.

    A training step allocates and frees its activations each time. The C library maps tensors of megabytes
    one by one and returns them at once, and the system fills every page of the next one with zeros, which on
    a CPU takes up to a quarter of an evaluation. With glibc the heap then serves every size and never
    shrinks: the process keeps its peak memory until `release_freed_memory`. Other C libraries are left alone.
    """
    library = _c_library()
    if library is None:
        return False
    return bool(library.mallopt(MMAP_MAX, 0)) and bool(library.mallopt(TRIM_THRESHOLD, -1))


def release_freed_memory() -> None:
    """Return freed memory to the system, so that a run does not hold what the one before it needed."""
    library = _c_library()
    if library is not None:
        library.malloc_trim(0)
