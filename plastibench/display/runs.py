"""Progress of runs: a live display on a terminal, plain lines elsewhere."""

import logging
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from plastibench.console import TIMED
from plastibench.display.screen import LiveDisplay, format_duration, suppress_errors
from plastibench.errors import count
from plastibench.experiments.spec import Spec
from plastibench.runner.callbacks import RunCallback
from plastibench.store.record import Record
from plastibench.training.callbacks import EpochProgress
from plastibench.training.cost import PHASES

logger = logging.getLogger(__name__)

ECHO = 3
"""Columns that are left free: "^C", which a terminal writes at the end, must not begin a line."""
PLAIN_INTERVAL = 10.0
"""Seconds between two lines about stages if there is no terminal, at least."""


@dataclass
class RunState:
    """How far a run is."""

    name: str
    num_stages: int
    start_time: float
    stage: int = 0
    """Stages that have ended."""
    epoch: int = 0
    train_accuracy: float | None = None
    stage_seconds: float = 0.0
    """By the clocks of its stages, some of which may have ended before it was resumed."""

    def seconds(self, now: float) -> float:
        """Return the seconds spent on it."""
        return max(now - self.start_time, self.stage_seconds)


class RunProgress(LiveDisplay, RunCallback):
    """Show the runs that are executed, and how long the rest will take."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.num_runs = 0
        self.num_ended = 0
        self.num_processes = 1
        self.durations: deque[float] = deque(maxlen=50)
        """Seconds of the latest runs."""
        self.running: dict[str, RunState] = {}
        self.estimated: dict[str, float] = {}
        """Estimated seconds of the runs that have not ended, by id."""
        self.spent = self.foreseen = 0.0
        """What the runs that have ended took, and what they were estimated to take."""
        self.last_line = 0.0

    @suppress_errors
    def on_start(self, num_runs: int, num_finished: int, num_processes: int) -> None:
        """Take the numbers of runs and processes."""
        self.num_runs, self.num_ended, self.num_processes = num_runs, num_finished, num_processes

    @suppress_errors
    def on_estimate(self, seconds: Mapping[str, float]) -> None:
        """Take the estimates."""
        self.estimated = dict(seconds)

    @suppress_errors
    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        """Show a run."""
        self.running[spec.id] = RunState(spec.name, num_stages, time.monotonic())

    @suppress_errors
    def on_epoch_end(self, spec: Spec, epoch: EpochProgress) -> None:
        """Move a run on."""
        state = self.running.get(spec.id)
        if state is not None:
            state.stage, state.epoch, state.train_accuracy = epoch.stage, epoch.epoch, epoch.train_accuracy

    @suppress_errors
    def on_stage_restored(self, spec: Spec, row: dict[str, Any]) -> None:
        """Count a stage that had ended before the run was resumed."""
        state = self.running.get(spec.id)
        if state is not None:
            state.stage, state.epoch = row["index"] + 1, 0
            state.stage_seconds += sum(row.get(f"{phase}_seconds", 0) for phase in PHASES)

    @suppress_errors
    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        """Count a stage, and print a line about it if there is no terminal."""
        self.on_stage_restored(spec, row)
        state = self.running.get(spec.id)
        if state is None:
            return
        if not self.redraws and time.monotonic() - self.last_line > PLAIN_INTERVAL:
            self.last_line = time.monotonic()
            place = f"stage {state.stage}/{state.num_stages}"
            logger.info("%s: %s, %s", state.name, place, self.time_left(), extra=TIMED)

    @suppress_errors
    def on_run_end(self, record: Record) -> None:
        """Count a finished run."""
        self.num_ended += 1
        self.running.pop(record.id, None)
        self.durations.append(float(record.provenance["seconds"]))
        if record.id in self.estimated:
            self.foreseen += self.estimated.pop(record.id)
            self.spent += self.durations[-1]

    @suppress_errors
    def on_run_error(self, spec: Spec, message: str) -> None:
        """Count a failed run."""
        self.num_ended += 1
        self.running.pop(spec.id, None)
        self.estimated.pop(spec.id, None)

    def fraction(self) -> float:
        """Return which part of the runs is done, by their stages."""
        running = sum(state.stage / max(1, state.num_stages) for state in list(self.running.values()))
        return min(1.0, (self.num_ended + running) / max(1, self.num_runs))

    def time_left(self) -> str:
        """Return how long the rest will take, by the estimate or by the runs so far; nothing at the end."""
        if self.num_runs and self.num_ended >= self.num_runs:
            return ""
        now, states = time.monotonic(), list(self.running.values())  # the display runs in another thread
        if self.estimated:
            return f"about {format_duration(self._estimated_left(now))} left"
        if self.durations:
            prefix, duration = "about", sum(self.durations) / len(self.durations)
        else:
            # No run has ended. Later stages have more data as a rule: this is too short if anything.
            guesses = [state.seconds(now) * state.num_stages / state.stage for state in states if state.stage]
            prefix, duration = "at least", max(guesses, default=0.0)
        if not duration:
            return "time left not known yet"
        num_left = self.num_runs - self.num_ended
        spent = sum(min(state.seconds(now), duration) for state in states)
        at_once = self.num_processes or len(states)
        seconds = max(0.0, num_left * duration - spent) / max(1, min(at_once, num_left))
        return f"{prefix} {format_duration(seconds)} left"

    def _estimated_left(self, now: float) -> float:
        """Return the seconds of the remaining runs, corrected by what the ended ones took."""
        factor = self.spent / self.foreseen if self.foreseen else 1.0
        left = {run: factor * seconds for run, seconds in list(self.estimated.items())}
        for run, state in list(self.running.items()):
            if run in left:
                left[run] = max(0.0, left[run] - state.seconds(now))
        return max(sum(left.values()) / max(1, self.num_processes), *left.values())

    def __rich__(self) -> Group:
        """Return a line for all runs and one for each that is executed."""
        number = f"{self.num_ended}/{count(self.num_runs, 'run')}" if self.num_runs else "preparing"
        head = Text.assemble((number, "bold"), f"  {self.elapsed()} elapsed")
        if self.num_runs and not (self.running or self.durations):
            head.append("  starting")
        elif self.num_runs:
            head.append(f"  {self.time_left()}")
        layout = RichTable.grid(padding=(0, 2))
        rows = [_cells(state) for state in list(self.running.values())]
        used = sum(max((len(row[i]) for row in rows), default=0) + 2 for i in (1, 2))
        room = self.console.width - used - ECHO
        for name, stage, accuracy in rows:
            layout.add_row(Text(_shortened(name, room)), stage, accuracy)
        return Group(head, layout) if rows else Group(head)  # rich draws a table without columns as a line


def _cells(state: RunState) -> tuple[str, str, str]:
    """Return a run's name, where it is, and how well it is trained."""
    stage = f"stage {min(state.stage + 1, state.num_stages)}/{state.num_stages} epoch {state.epoch}"
    return state.name, stage, f"train {100 * (state.train_accuracy or 0):.1f} %" if state.epoch else ""


def _shortened(name: str, room: int) -> str:
    """Return a name that fits: without its beginning, which is the task and the same for most runs."""
    return name if len(name) <= room else f"...{name[3 - max(room, 4) :]}"
