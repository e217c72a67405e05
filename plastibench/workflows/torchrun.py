"""Take part in the runs of several processes that torchrun has started."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from plastibench.distributed.launch import Launch
from plastibench.distributed.lost import RankLostError
from plastibench.distributed.watch import Limit, rank_timeout
from plastibench.errors import RequestError

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup


@contextmanager
def take_part() -> Iterator[bool]:
    """Yield whether this process has to execute the request: it is the first one, or the only one.

    The others train along before the context begins. Raises what a run raises in such a process, and
    RequestError if the processes do not meet.
    """
    launch = Launch.from_environment()
    if launch is None:
        yield True
    elif launch.rank:
        _follow(launch)
        yield False
    else:
        ranks = _join(launch)
        try:
            yield True
        finally:
            if ranks.in_step:
                ranks.send(None)
                ranks.leave()


def _join(launch: Launch) -> RankGroup:
    from plastibench.devices import collective_backends
    from plastibench.distributed.launch import join_torchrun

    try:
        return join_torchrun(collective_backends(), Limit(rank_timeout(), _end))
    except RankLostError as error:
        raise RequestError(f"{error} (rank {launch.rank} of {launch.size}, started by torchrun)") from error


def _end(message: str, is_first: bool) -> None:
    """End this process, which waits for one that does not come; torchrun ends the others."""
    if is_first:
        cursor = "\x1b[?25h\n" if os.isatty(2) else ""  # which a display has hidden
        os.write(2, f"{cursor}plastibench: {message}; the same command continues\n".encode())
    os._exit(1)


def _follow(launch: Launch) -> None:
    from plastibench.runner.follow import device_of, follow, share_decoders
    from plastibench.system import signals

    signals.follow_parent()  # the first process answers Ctrl-C, and ends the others when it ends
    try:
        share_decoders(launch.local_size)
        ranks = _join(launch)
        follow(ranks, partial(device_of, launch))
        ranks.leave()
    except RankLostError:
        return  # the first process says why
