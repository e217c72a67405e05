"""Take part in the runs of several processes that torchrun has started."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from plastibench.distributed.launch import Launch
from plastibench.distributed.lost import RankLostError


@contextmanager
def take_part() -> Iterator[bool]:
    """Yield whether this process has to execute the request: it is the first one, or the only one.

    The others train along before the context begins. Raises what a run raises in such a process.
    """
    launch = Launch.from_environment()
    if launch is None:
        yield True
    elif launch.rank:
        _follow(launch)
        yield False
    else:
        from plastibench.devices import collective_backends
        from plastibench.distributed.launch import join_torchrun

        ranks = join_torchrun(collective_backends())
        try:
            yield True
        finally:
            if ranks.in_step:
                ranks.send(None)


def _follow(launch: Launch) -> None:
    from plastibench.devices import collective_backends
    from plastibench.distributed.launch import join_torchrun
    from plastibench.runner.follow import device_of, follow, share_decoders
    from plastibench.system import signals

    signals.follow_parent()  # the first process answers Ctrl-C, and ends the others when it ends
    try:
        share_decoders(launch.local_size)
        follow(join_torchrun(collective_backends()), partial(device_of, launch))
    except RankLostError:
        return  # the first process says why
