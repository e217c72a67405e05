"""What a Ray node does for a run: check that it can, execute it in a folder of its own, tell its events."""

from __future__ import annotations

import os
import pickle
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from plastibench.errors import RequestError, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import RunEvent, RunFailed, RunReleased
from plastibench.runner.workspace import DATA_VARIABLE, default_cache, default_data
from plastibench.store.checkpoint_storage import check_mark
from plastibench.store.run_status import LOCK_FILE
from plastibench.store.run_writer import read_failure
from plastibench.system import signals
from plastibench.system.cpu import wait_briefly

_checksums: dict[str, str] = {}
"""Of the data that this process has found, by condition."""

Message = tuple[Any, ...]
"""A word, and what belongs to it."""

SIGNAL_SECONDS = 0.5
"""How often to let Python look for a signal: Ray sets one without waking this thread."""


@dataclass(frozen=True)
class Errand:
    """What the driver sends once for all runs."""

    context: RunContext
    data: Path | None
    """The folder of the data if the user chose one."""
    data_variable: str | None
    """PLASTIBENCH_DATA of the driver: a node that has another has its data there."""
    storage_mark: str | None
    """What nodes find in the storage of checkpoints if it is that of the driver; None without a storage."""
    folder: Path
    """The driver's current folder, from which relative paths in settings lead."""


def messages(errand: bytes, spec: bytes, lock: str) -> Iterator[Message]:
    """Yield what happens to a run on this node; `lock` is what its lock says in the driver's home folder."""
    wait_briefly()
    try:
        run: Spec = pickle.loads(spec)  # noqa: S301 - the driver's, which executes code here anyway
        sent: Errand = pickle.loads(errand)  # noqa: S301
        with suppress(OSError):  # a node need not see it, and settings need not name files
            os.chdir(sent.folder)
        given = _on_this_node(sent, run, lock)
        if sent.storage_mark is not None:
            check_mark(str(given.checkpoint_storage), sent.storage_mark)
        _check(run, given)
    except Exception as error:  # whatever another state of the code, or a missing device or file, leads to
        yield "unfit", False, explain(error)
        return
    instances = num_ray_instances()
    if instances > 1:
        yield "shared", instances
    if given.checkpoint_storage is None:
        yield ("homeless",)
    yield from _events(run, given)


def _on_this_node(errand: Errand, spec: Spec, lock: str) -> RunContext:
    """Return the context with this node's folders of data and cache, and a place for checkpoints.

    That is the storage, or the driver's home folder if it is seen here: its lock is that of the driver.
    """
    context, data = errand.context, errand.data
    storage = context.checkpoint_storage
    if storage is None and _text(context.store.folder(spec.id) / LOCK_FILE) == lock != "":
        storage = str(context.workspace.home)
    if data is None or os.environ.get(DATA_VARIABLE, errand.data_variable) != errand.data_variable:
        data = default_data()
    workspace = replace(context.workspace, data=data, cache=default_cache())
    return replace(context, workspace=workspace, checkpoint_storage=storage, keeps_checkpoint=True)


def _check(spec: Spec, context: RunContext) -> None:
    """Raise RequestError if this node lacks the device, a plug-in or the data, or has others."""
    from plastibench.runner.data import load_checksum

    key = spec.condition_id
    found = _checksums[key] = _checksums.get(key) or load_checksum(spec, context)
    expected = context.data_checksums.get(key, found)
    if found != expected:
        raise RequestError(
            f"its data of task {spec.task.name} in {context.workspace.data} are others: their checksum is "
            f"{found[:12]}, and {expected[:12]} on this machine"
        )


def _events(spec: Spec, context: RunContext) -> Iterator[Message]:
    """Yield the events of a run; the last one when nothing of it is left on this node."""
    queue: SimpleQueue[Message | None] = SimpleQueue()
    last: Message | None = None
    with (
        signals.stop_on_signals(),
        tempfile.TemporaryDirectory(prefix="plastibench-run-", ignore_cleanup_errors=True) as folder,
    ):
        workspace = replace(context.workspace, home=Path(folder))
        arguments = (spec, replace(context, workspace=workspace), queue)
        thread = Thread(target=_execute, args=arguments, name="run", daemon=True)
        thread.start()
        try:
            for message in _until_none(queue):
                if isinstance(message[1], RunReleased):
                    last = message
                elif not signals.stop_requested():  # Ray ends a canceled task when it yields
                    yield message
        finally:
            if last is None:
                signals.request_stop()
            thread.join()
    if last is not None:
        yield last


def _until_none(queue: SimpleQueue[Message | None]) -> Iterator[Message]:
    while True:
        try:
            message = queue.get(timeout=SIGNAL_SECONDS)
        except Empty:
            continue
        if message is None:
            return
        yield message


def _execute(spec: Spec, context: RunContext, queue: SimpleQueue[Message | None]) -> None:
    """Execute a run in a thread: the main thread passes its events on, and hears that it is to stop."""
    from plastibench.runner.worker import FewEpochs, RunWorker

    def put(event: RunEvent) -> None:
        trace = ""
        if isinstance(event, RunFailed):
            trace = read_failure(context.store.folder(spec.id)).get("traceback", "")
        queue.put(("event", event, trace))

    try:
        RunWorker(context).run(spec, FewEpochs(put))
    except KeyboardInterrupt:  # asked to stop: its state is saved
        pass
    except BaseException as error:  # not of the run, which would have been reported
        queue.put(("event", RunFailed(spec, explain(error)), ""))
    finally:
        queue.put(None)


@cache
def num_ray_instances() -> int:
    """Return how many Ray instances have a node on this machine, as far as Linux shows their processes."""
    addresses = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        words = _text(path).split("\0")
        if Path(words[0]).name == "raylet":
            addresses |= {word for word in words if word.startswith("--gcs-address=")}
    return len(addresses)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
