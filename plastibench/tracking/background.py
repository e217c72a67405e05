"""Mirror runs to MLflow while they train, from a process of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from plastibench.errors import count
from plastibench.system.processes import spawn_context
from plastibench.system.signals import interrupts_ignored
from plastibench.tracking.follower import (
    STEP_SECONDS,
    MirrorJob,
    MirrorResult,
    follow,
    log_failure,
    shell_command,
)

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
GRACE_SECONDS = 3.0
"""Time of the process to write what is left after Ctrl-C."""


@contextmanager
def mirrored(job: MirrorJob | None) -> Iterator[BackgroundMirror | None]:
    """Mirror a job inside the context; yield None if there is no job."""
    if job is None:
        yield None
    else:
        with BackgroundMirror(job) as mirror:
            yield mirror


class BackgroundMirror:
    """A process that mirrors a job. The store is the truth: an error is logged once, and costs no run."""

    def __init__(self, job: MirrorJob) -> None:
        self.job = job
        self.result: MirrorResult | None = None
        """None until the process ends; the links of an incomplete one lead to what was written."""
        self.deadline = float("inf")
        """Monotonic time by which the process must send its next message."""

    def __enter__(self) -> Self:
        """Start the process."""
        context = spawn_context()
        self._connection, child_connection = context.Pipe()
        self._process = context.Process(target=follow, args=(child_connection, self.job), daemon=True)
        with interrupts_ignored():
            self._process.start()
        child_connection.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Stop the process; `plastibench sync` writes what it could not."""
        if error_type is not None:  # so that MLflow does not show runs as running
            self._send(attach=False)
            self._process.join(GRACE_SECONDS)
        if self.result is None:
            self._process.kill()
        self._process.join()
        self._listener.join()
        self._connection.close()

    def finish(self) -> None:
        """Wait until all is written, as long as there is progress, with the tables of leaderboards."""
        self._send(attach=True)
        while self._listener.is_alive() and time.monotonic() < self.deadline:
            self._listener.join(POLL_SECONDS)
        if self.result is None:
            log_failure(self.job.server, "it does not answer")
        elif self.result.is_complete:
            self._log_result(self.result)

    def _send(self, *, attach: bool) -> None:
        with suppress(OSError):
            self._connection.send(attach)

    def _listen(self) -> None:
        """Receive messages until the process ends."""
        with suppress(EOFError, OSError):
            while True:
                match self._connection.recv():
                    case logging.LogRecord() as record:
                        logging.getLogger(record.name).handle(record)
                    case MirrorResult() as result:
                        self.result = result
                self.deadline = time.monotonic() + STEP_SECONDS

    def _log_result(self, result: MirrorResult) -> None:
        server = result.server
        added = count(result.num_added, "run" if self.job.tuning is None else "trial")
        logger.info("MLflow: %s added to %s", added, server.display_uri)
        ui = f"`{shell_command('ui', server)}`, then <address>/"
        page = ui if server.is_database else f"{server.display_uri}/"
        for link in result.links.values():
            logger.info("        %s%s", page, link)
