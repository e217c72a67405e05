"""Provenance of a record: versions, commit, hardware, host."""

import platform
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import plastibench
from plastibench.devices import Device
from plastibench.distributed.ranks import Ranks
from plastibench.system.packages import installed_version

CODE = ("plastibench", "methods", "tasks")
"""The folders of a checkout that hold what a run executes."""


def provenance(device: Device, ranks: Ranks | None = None) -> dict[str, Any]:
    """Return the provenance of a run that is executed here and now, without times and data."""
    import numpy as np
    import torch

    from plastibench.devices.compile import available_backend

    return {
        "plastibench": plastibench.__version__,
        "commit": commit(),
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # not torch's own class of str: checkpoints hold plain values
        "torchvision": installed_version("torchvision"),  # not imported: few runs need it
        "numpy": np.__version__,
        "platform": platform.platform(),
        "host": platform.node(),
        "device": device.name(),
        "threads": torch.get_num_threads(),
        "deterministic": device.is_deterministic(),
        "compiler": available_backend(device),
        **({} if ranks is None or ranks.size == 1 else {"devices": ranks.size}),
    }


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the git commit of a checkout; None for an installed package.

    "+changes" is added if a file of the code differs from it, or was never committed.
    """
    root = Path(plastibench.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if head is None:
        return None
    return head + ("+changes" if _git(root, "status", "--porcelain", "--", *CODE) else "")


def _git(root: Path, *args: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *args], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
