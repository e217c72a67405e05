"""How processes become the ranks of a run: started by this program, or by torchrun."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.distributed.lost import RankLostError
from plastibench.distributed.watch import Limit, Watch
from plastibench.errors import RequestError, one_line

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

    from plastibench.distributed.group import RankGroup

FOREVER = timedelta(days=7)
"""How long a rank waits for a message of the first one, which may be waiting for a user; the longest that
torch allows on every system. One that dies is noticed at once."""
MARGIN = timedelta(minutes=1)
"""How much later than the watch torch ends a wait: of ranks that never met, or for a device that hangs."""


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
        """Return what torchrun says in the environment, or None without torchrun or for a single process.

        Raises RequestError for what torchrun does not say.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        if "MASTER_ADDR" not in environment or any(name not in environment for name in names):
            return None
        texts = [environment[name] for name in names]
        if all(text.isdecimal() for text in texts):
            launch = cls(*map(int, texts))
            if launch.rank < launch.size and launch.local_rank < launch.local_size <= launch.size:
                return launch if launch.size > 1 else None
        given = " ".join(f"{name}={text}" for name, text in zip(names, texts, strict=True))
        raise RequestError(f"{given} are not what torchrun sets: start the processes by torchrun")


@dataclass(frozen=True)
class Meeting:
    """How the ranks of a run on this machine meet, seen from one of them."""

    file: Path
    """One that does not exist yet, the same for all."""
    rank: int
    size: int


def join(backends: str, meeting: Meeting, limit: Limit) -> RankGroup:
    """Make this process one of the ranks that meet on this machine; returns when all have come.

    Another thread calls `limit.on_missing` if one does not come to what all do together. Raises
    RankLostError if one never comes.
    """
    import torch.distributed as dist

    loopback = [name for _, name in socket.if_nameindex() if name.startswith("lo")]
    if loopback:  # they need no network, and the name of the host may lead nowhere
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
    store = dist.FileStore(str(meeting.file), meeting.size)  # type: ignore[attr-defined]
    return _group(backends, limit, store, meeting.rank, meeting.size)


def join_torchrun(backends: str, limit: Limit) -> RankGroup:
    """Make this process one of those that torchrun has started, as `join` does."""
    _LAUNCHED[:] = [_group(backends, limit)]
    return _LAUNCHED[0]


def _group(
    backends: str, limit: Limit, store: Store | None = None, rank: int = -1, size: int = -1
) -> RankGroup:
    import torch.distributed as dist
    from torch.distributed.distributed_c10d import _get_default_store

    from plastibench.distributed.group import RankGroup

    timeout = timedelta(seconds=limit.seconds) + MARGIN
    try:
        dist.init_process_group(backends, timeout=timeout, store=store, rank=rank, world_size=size)
        messages = dist.new_group(backend="gloo", timeout=FOREVER)
        assert isinstance(messages, dist.ProcessGroup), "all ranks are in it"
    except (RuntimeError, ValueError) as error:
        raise RankLostError(f"the processes of a run could not meet: {one_line(str(error))}") from error
    clone = _get_default_store().clone()  # the main thread may wait for the other one
    return RankGroup(Watch(clone, dist.get_rank(), dist.get_world_size(), limit), messages)


def launched() -> RankGroup | None:
    """Return the processes that torchrun has started and that this one has joined, or None."""
    return _LAUNCHED[0] if _LAUNCHED else None


_LAUNCHED: list[RankGroup] = []
