"""How processes become the ranks of a run: started by this program, or by torchrun."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup

TIMEOUT = timedelta(days=7)
"""How long a rank waits for another, which may be writing or measuring; one that dies is noticed at once."""


@dataclass(frozen=True)
class Launch:
    """The place of this process among those that torchrun has started."""

    rank: int
    size: int
    local_rank: int
    """Number of the process on its machine, and of its device."""
    local_size: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Launch | None:
        """Return what torchrun says in the environment, or None without torchrun or for a single process."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        if "MASTER_ADDR" not in environment or any(name not in environment for name in names):
            return None
        launch = cls(*(int(environment[name]) for name in names))
        return launch if launch.size > 1 else None


def join(backends: str, rank: int, size: int, meeting: Path) -> RankGroup:
    """Make this process one of `size` ranks on this machine, which meet by a file that does not exist yet.

    Returns when all have come.
    """
    import torch.distributed as dist

    from plastibench.distributed.group import RankGroup

    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:  # they need no network, and the name of the host may lead nowhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    store = dist.FileStore(str(meeting), size)  # type: ignore[attr-defined]
    dist.init_process_group(backends, store=store, rank=rank, world_size=size, timeout=TIMEOUT)
    return RankGroup()


def join_torchrun(backends: str) -> RankGroup:
    """Make this process one of those that torchrun has started; returns when all have come."""
    import torch.distributed as dist

    from plastibench.distributed.group import RankGroup

    dist.init_process_group(backends, timeout=TIMEOUT)
    _LAUNCHED[:] = [RankGroup()]
    return _LAUNCHED[0]


def launched() -> RankGroup | None:
    """Return the processes that torchrun has started and that this one has joined, or None."""
    return _LAUNCHED[0] if _LAUNCHED else None


_LAUNCHED: list[RankGroup] = []
