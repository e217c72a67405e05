"""Several workers on this machine; one that dies is replaced, and its trial is taken up by another."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from plastibench.system import signals
from plastibench.training.callbacks import StopRequested
from plastibench.tuning.trial_runner import WorkerConfig, run_worker

LOOK_SECONDS = 1.0
"""How often the team is looked at."""
GRACE_SECONDS = 30.0
"""How long a worker may take to end its step before it is killed."""
MOST_DEATHS = 10
"""Workers that may die before something is taken to be wrong with the runs themselves."""


class WorkersLostError(RuntimeError):
    """Workers died again and again."""


def run_workers(assignment: WorkerConfig, jobs: int, look: Callable[[], None]) -> None:
    """Carry out trials in `jobs` processes until every budget is used; `look` is called every second.

    Raises LostError where worker after worker dies. No process is left when this returns or raises.
    """
    team = [_start(assignment, position) for position in range(jobs)]
    deaths = 0
    try:
        while any(member.is_alive() for member in team):
            wait([member.sentinel for member in team if member.is_alive()], timeout=LOOK_SECONDS)
            for position, member in enumerate(team):
                if not member.is_alive() and member.exitcode:
                    deaths += 1
                    if deaths > MOST_DEATHS:
                        raise WorkersLostError(
                            f"{deaths} workers died, the last with exit status {member.exitcode}"
                        )
                    team[position] = _start(assignment, position)
            look()
    except KeyboardInterrupt:
        signals.announce_stop()
        raise
    finally:
        _end(team)


def _start(assignment: WorkerConfig, position: int) -> BaseProcess:
    context = multiprocessing.get_context("spawn")
    # Not a daemon: a run that streams its images has processes of its own.
    process = context.Process(target=_work, args=(assignment, position), daemon=False)
    process.start()
    return process


def _end(team: list[BaseProcess]) -> None:
    """Let every worker end its step and keep its state; what takes too long, or a second Ctrl-C, kills."""
    for member in team:
        member.terminate()
    try:
        for member in team:
            member.join(GRACE_SECONDS)
    finally:
        for member in team:
            member.kill()
            member.join()


def _work(assignment: WorkerConfig, position: int) -> None:
    """Be a worker, for as long as the process lives that this one works for."""
    signals.follow_parent()
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with suppress(StopRequested):
        run_worker(assignment, position)


def _end_with(parent: BaseProcess) -> None:
    """End this process when its parent is gone: nobody is left to work for."""
    wait([parent.sentinel])
    os._exit(1)
