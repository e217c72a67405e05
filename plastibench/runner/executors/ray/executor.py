"""Execute runs as tasks on a Ray cluster."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import Self

from plastibench.errors import RequestError, count, explain
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.events import Emit, RunEnded, RunEvent, RunFailed, RunLocked, RunLost, RunReleased
from plastibench.runner.executors.base import OVERDUE_SECONDS, Executor, WorkerExecutor
from plastibench.runner.executors.choice import ExecutorChoice
from plastibench.runner.executors.ray.cluster import Demand, RayCluster
from plastibench.runner.executors.ray.node import Message
from plastibench.runner.executors.ray.submission import Submitter
from plastibench.runner.executors.ray.task import RayTask
from plastibench.runner.remote_run import RemoteRun
from plastibench.store.run_status import RunLockedError

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
GRACE_SECONDS = 30.0
"""How long runs may take to save their states before they are killed."""


def make(context: RunContext, choice: ExecutorChoice) -> Executor:
    """Return the executor; Ray is neither imported nor started."""
    return RayExecutor(context, choice)


class RayExecutor(WorkerExecutor):
    """Executes each run as a Ray task, which sends its events; the driver alone writes to the store.

    A node that lacks the data, the device or the versions of the driver is named once and avoided.
    """

    def __init__(
        self, context: RunContext, choice: ExecutorChoice, grace_seconds: float = GRACE_SECONDS
    ) -> None:
        self.context, self.choice, self.grace_seconds = context, choice, grace_seconds
        self.demand = Demand.of_run(context, choice.device_share)
        self._tasks: list[RayTask] = []
        self._events: list[RunEvent] = []
        """Of runs that were not started because they are locked or finished."""
        self._refused: dict[tuple[str, str | None], str] = {}
        """Why nodes execute no runs, or none of a task."""
        self._said: set[str] = set()

    def __enter__(self) -> Self:
        """Connect. Raises RequestError if there is no such cluster, or it has no room for a run."""
        self.cluster = RayCluster(self.choice.address)
        try:
            self._prepare()
        except BaseException:
            self.cluster.close()
            raise
        return self

    def _prepare(self) -> None:
        """Find out how many runs the cluster executes, and send it what all of them need."""
        if not self.cluster.slots(self.demand) and self.choice.jobs is None:
            raise RequestError(
                f"no node of the Ray cluster at {self.cluster.address} has {self.demand} for a run: give "
                "another --device, fewer --threads, or, if the cluster grows by demand, --jobs"
            )
        logger.info(
            "Ray at %s: %s, %s at a time",
            *(self.cluster.address, count(len(self.cluster.nodes()), "node"), count(self._limit(), "run")),
        )
        self.submitter = Submitter(self.context, self.demand)

    def has_capacity(self) -> bool:
        """Return whether there is room for another run by what the cluster's nodes have now."""
        return len(self._tasks) + len(self._events) < self._limit()

    def submit(self, spec: Spec) -> None:
        """Lock a run and hand it to Ray."""
        try:
            run = RemoteRun(spec, self.context)
        except RunLockedError as error:
            self._events.append(RunLocked(spec, str(error)))
            return
        record = self.context.store.read(spec.id)
        if record is not None:  # another process has just finished it
            run.close()
            self._events.append(RunEnded(spec, record))
            return
        refusal = self._start(run)
        if refusal is not None:
            self._events.append(refusal)

    def poll(self, emit: Emit) -> None:
        """Emit the events that have come since the last time."""
        while self._events:
            emit(self._events.pop())
        for task in self._ready(POLL_SECONDS):
            self._receive(task, emit)
        self._lose_dead(emit)
        limit = self.context.run_timeout
        for task in list(self._tasks) if limit is not None else ():
            assert limit is not None
            if time.monotonic() - task.started > limit + OVERDUE_SECONDS:
                self._cancel(task, force=True)
                message = f"it did not stop at its time limit on {task.name}, and was killed"
                self._release(task, RunFailed(task.run.spec, message), emit)

    def stop(self) -> None:
        """Let runs save their states; kill those that have not after the grace time, or a second Ctrl-C."""
        try:
            for task in self._tasks:
                self._cancel(task)
            deadline = time.monotonic() + self.grace_seconds
            while self._tasks and time.monotonic() < deadline:
                for task in self._ready(POLL_SECONDS):
                    self._receive(task, lambda _: None)
        finally:
            with ExitStack() as rest:  # from the last to the first, whatever one of them raises
                rest.callback(self.cluster.close)
                rest.callback(self.submitter.close)
                rest.callback(self._tasks.clear)
                for task in self._tasks:
                    rest.callback(task.run.close, "asked to stop")
                    rest.callback(self._cancel, task, force=True)

    def _lose_dead(self, emit: Emit) -> None:
        """Take runs of dead nodes that have told all to be lost.

        A machine that is cut off closes no connection, and Ray waits for it for several minutes more.
        """
        dead = self.cluster.dead_nodes()
        gone = {task for task in self._tasks if task.node in dead}
        for task in gone - set(self._ready(0.0) if gone else ()):
            self._release(task, task.lost("NodeDiedError"), emit)

    def _limit(self) -> int:
        refused = {node for node, task in self._refused if task is None}
        return self.choice.jobs or max(1, self.cluster.slots(self.demand, refused))

    def _ready(self, seconds: float) -> list[RayTask]:
        """Return the tasks that have sent something, after waiting for it."""
        import ray

        if not self._tasks:
            return []
        tasks = {task.stream: task for task in self._tasks}
        ray.wait([*tasks], num_returns=1, timeout=seconds)
        ready, _ = ray.wait([*tasks], num_returns=len(tasks), timeout=0)
        return [tasks[stream] for stream in ready]

    def _receive(self, task: RayTask, emit: Emit) -> None:
        """Take the next message of a task."""
        import ray

        try:
            message: Message = ray.get(next(task.stream))
        except StopIteration:
            self._release(task, RunLost(task.run.spec, f"{task.name} has ended it without a word"), emit)
        except ray.exceptions.RayError as error:
            self._release(task, task.loss(error), emit)
        else:
            self._handle(task, message, emit)

    def _handle(self, task: RayTask, message: Message, emit: Emit) -> None:
        match message:
            case "node", str(node), str(name):
                task.node, task.name, task.started = node, name, time.monotonic()
            case "unfit", bool(for_all), str(reason):
                self._refuse(task, None if for_all else task.run.spec.task.name, reason, emit)
            case "shared", int(number):
                self._warn(
                    f"{task.name} has {number} Ray instances, and each hands out all of its cores and "
                    "devices: give each a part (ray start --num-cpus --num-gpus)"
                )
            case ("homeless",):
                self._warn(
                    "the nodes do not see the home folder: a run that is lost with its node starts "
                    "over, unless --checkpoint-storage names a place that all of them reach"
                )
            case "event", RunEvent() as event, str(trace):
                self._record(task, event, trace, emit)

    def _record(self, task: RayTask, event: RunEvent, trace: str, emit: Emit) -> None:
        """Write an event to the store, and emit it."""
        try:
            event = task.run.record(event, trace)
        except OSError as error:
            self._cancel(task)
            event = RunFailed(task.run.spec, explain(error))
        if isinstance(event, RunReleased):
            self._release(task, event, emit)
        else:
            emit(event)

    def _release(self, task: RayTask, event: RunReleased, emit: Emit) -> None:
        self._tasks.remove(task)
        task.run.close("" if isinstance(event, RunEnded | RunFailed) else f"{getattr(event, 'message', '')}")
        emit(event)

    def _refuse(self, task: RayTask, what: str | None, reason: str, emit: Emit) -> None:
        """Note that a node cannot execute a run, and start the run on another one."""
        if (task.node, what) not in self._refused:
            self._refused[task.node, what] = f"{task.name}: {reason}"
            runs = "no runs" if what is None else f"no runs of task {what}"
            self._warn(f"{task.name} executes {runs}: {reason}")
        self._tasks.remove(task)
        refusal = self._start(task.run)
        if refusal is not None:
            emit(refusal)

    def _start(self, run: RemoteRun) -> RunFailed | None:
        """Start a run on a node that can execute it; it has failed if all that have room for it cannot."""
        unfit = self._unfit_nodes(run.spec)
        if unfit and not self.cluster.slots(self.demand, set(unfit)):
            event = RunFailed(run.spec, f"no node can execute it; {next(reversed(unfit.values()))}")
            run.record(event)
            run.close()
            return event
        try:
            stream = self.submitter.start(run, set(unfit))
        except BaseException:
            run.close()
            raise
        self._tasks.append(RayTask(run, stream))
        return None

    def _unfit_nodes(self, spec: Spec) -> dict[str, str]:
        """Return why nodes cannot execute a run."""
        return {
            node: reason for (node, task), reason in self._refused.items() if task in (None, spec.task.name)
        }

    def _warn(self, message: str) -> None:
        """Warn once."""
        if message not in self._said:
            self._said.add(message)
            logger.warning("%s", message)

    def _cancel(self, task: RayTask, *, force: bool = False) -> None:
        import ray

        ray.cancel(task.stream, force=force)
