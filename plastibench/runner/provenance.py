"""Where a result comes from: versions, commit, hardware, host."""

from __future__ import annotations

import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import plastibench
from plastibench.devices import Device


def provenance(device: Device) -> dict[str, Any]:
    """Return what a record says of its origin, beside times and data."""
    import numpy as np
    import torch

    from plastibench.devices.compile import backend

    return {
        "plastibench": plastibench.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of torch's own, which a checkpoint must not hold
        "torchvision": _version("torchvision"),  # which few runs import
        "numpy": np.__version__,
        "platform": platform.platform(),
        "host": platform.node(),
        "device": device.name(),
        "threads": torch.get_num_threads(),
        "deterministic": device.is_deterministic(),
        "compiler": backend(device),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the git commit of a checkout, "+changes" behind it where files differ; None for a package."""
    root = Path(plastibench.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return head + ("+changes" if _git(root, "status", "--porcelain") else "")


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
