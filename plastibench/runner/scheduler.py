"""TODO."""

from __future__ import annotations

from functools import cache, partial
from time import sleep

from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.execute import attempt, init_worker
from plastibench.runner.queue import RETRY_SECONDS, Queue
from plastibench.store.run_status import RunLockedError
from plastibench.store.run_store import Store
from plastibench.system import signals


def run_specs(
    specs: list[Spec], place: RunContext, watcher: RunCallback, jobs: int = 1
) -> list[tuple[Spec, str]]:
    """Carry out every run that is not finished; return those that failed, with the reason."""
    from plastibench.runner.executors.processes import run_in_processes

    store = Store(place.home)
    todo = [spec for spec in specs if store.read(spec.id) is None]
    if jobs > 1 and len(todo) > 1:
        return run_in_processes(todo, place, watcher, min(jobs, len(todo)))
    prepare = cache(partial(init_worker, place))
    failed: list[tuple[Spec, str]] = []
    queue = Queue(todo)
    with signals.stop_on_signals():
        while queue:
            spec = queue.next()
            if spec is None:
                sleep(RETRY_SECONDS / 10)
                continue
            try:
                reason = attempt(spec, place, prepare, watcher)
            except RunLockedError as error:
                queue.later(spec, watcher, str(error))
                continue
            failed += [(spec, reason)] if reason is not None else []
    return failed
