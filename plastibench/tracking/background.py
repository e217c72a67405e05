"""Runs appear in MLflow while they go on: a process of its own writes them, and no run waits for it."""

from __future__ import annotations

import multiprocessing
import shlex
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from plastibench import tracking
from plastibench.tracking.follower import MirrorJob, follow

LOOK_SECONDS = 0.2
GRACE_SECONDS = 3.0
"""How long the process may take to write what is left after Ctrl-C."""


@contextmanager
def mirrored(errand: MirrorJob | None, say: Callable[[str], None]) -> Iterator[BackgroundMirror | None]:
    """Mirror what an errand names while inside; None where nothing is to be mirrored or nothing can be."""
    if errand is None:
        yield None
    elif not tracking.is_available():
        say("mlflow is not installed: nothing is mirrored")
        yield None
    else:
        with BackgroundMirror(errand, say) as mirror:
            yield mirror


class BackgroundMirror:
    """The process that mirrors leaderboards, from the outside.

    The store is the truth: what goes wrong here is said once, and spoils nothing.
    """

    def __init__(self, errand: MirrorJob, say: Callable[[str], None]) -> None:
        """Take what to mirror, and how to tell the user."""
        self.errand = errand
        self.say = say
        self.broken = False
        self.result: tuple[int, dict[str, str]] | None = None
        """How many runs were added, and the links of the leaderboards; known when all is written."""
        self._until = float("inf")

    def __enter__(self) -> Self:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=follow, args=(theirs, self.errand), daemon=True)
        self._process.start()
        theirs.close()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End the process, whatever it is at: what is missing can be brought later."""
        if kind is not None and not self.broken:  # so that MLflow does not take the runs for running
            with suppress(OSError):
                self._pipe.send({})
            self._process.join(GRACE_SECONDS)
        if self.result is None:
            self._process.kill()
        self._process.join()
        self._listener.join()
        self._pipe.close()

    def finish(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """Wait until everything is written, for as long as something moves; texts go to leaderboards."""
        with suppress(OSError):
            self._pipe.send(texts)
        while self._listener.is_alive() and time.monotonic() < self._until:
            self._listener.join(LOOK_SECONDS)
        if self.result is not None:
            self._say_result(*self.result)
        elif not self.broken:
            self._complain("it does not answer")

    def _say_result(self, added: int, links: Mapping[str, str]) -> None:
        """Say what was written, and where it is seen."""
        server, what = self.errand.server, "runs" if self.errand.tuning is None else "trials"
        self.say(f"MLflow: {added} {what} added to {server.display_uri}")
        words = (
            f"--home {shlex.quote(str(server.home))}"
            if server.is_default
            else f"--tracking-uri {server.display_uri}"
        )
        for link in links.values():
            page = (
                f"`plastibench ui {words}`, then <address>/"
                if server.is_database
                else f"{server.display_uri}/"
            )
            self.say(f"        {page}{link}")

    def _listen(self) -> None:
        """Hear what the process says until it ends."""
        with suppress(EOFError, OSError):
            while True:
                self._hear(*self._pipe.recv())

    def _hear(self, what: str, content: Any) -> None:  # noqa: ANN401 - what was sent
        if what == "alive":
            self._until = time.monotonic() + content
        elif what == "done":
            self.result = content
        elif what == "broken" and not self.broken:
            self._complain(content)

    def _complain(self, reason: str) -> None:
        self.broken = True
        self.say(
            f"MLflow at {self.errand.server.display_uri} cannot be written ({reason}): the runs go on "
            "and are safe in the store; `plastibench sync` brings them later"
        )
