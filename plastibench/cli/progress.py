"""What a person sees while runs go on: bars on a terminal, plain lines anywhere else."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from rich.console import Console
from rich.table import Table as Layout
from rich.text import Text

from plastibench.cli.screen import Shown, _harmless, clock
from plastibench.experiments.spec import Spec, name_of
from plastibench.runner.callbacks import RunCallback
from plastibench.store.record import Record
from plastibench.training.callbacks import EpochProgress
from plastibench.training.cost import PHASES

REFRESH_PER_SECOND = 4
PLAIN_SECONDS = 10.0
"""At least so long between two lines about stages where there is no terminal."""


class Display(Shown, RunCallback):
    """Callback that shows the runs of a grid: what is done, where each run stands, how long it will take."""

    def __init__(self, console: Console, total: int, finished: int, jobs: int) -> None:
        super().__init__(console, REFRESH_PER_SECOND)
        self.total = total
        self.done = finished
        self.jobs = jobs
        self.seconds: deque[float] = deque(maxlen=50)
        self.running: dict[str, dict[str, Any]] = {}
        self.failures = 0
        self.said = 0.0

    @_harmless
    def on_run_start(self, spec: Spec, num_stages: int) -> None:
        """Show a run."""
        self.running[spec.id] = {"name": name_of(spec), "stages": num_stages, "began": time.monotonic()}

    @_harmless
    def on_epoch_end(self, spec: Spec, epoch: EpochProgress) -> None:
        """Move a run on."""
        state = self.running.get(spec.id)
        if state is not None:
            state |= vars(epoch)

    @_harmless
    def on_stage_end(self, spec: Spec, row: dict[str, Any]) -> None:
        """Note a stage that ended."""
        state = self.running.get(spec.id)
        if state is None:
            return
        state |= {"stage": row["index"] + 1, "epoch": 0}
        state["seconds"] = state.get("seconds", 0.0) + sum(row.get(f"{phase}_seconds", 0) for phase in PHASES)
        if not self.console.is_terminal and time.monotonic() - self.said > PLAIN_SECONDS:
            self.said = time.monotonic()
            self._print(f"  {state['name']}: stage {state['stage']}/{state['stages']}, {self._left()}")

    @_harmless
    def on_run_end(self, record: Record) -> None:
        """Count a run that is on the disk."""
        self.done += 1
        self.running.pop(record.id, None)
        seconds = float(record.provenance["seconds"])
        self.seconds.append(seconds)
        accuracy = 100 * record.stages[-1]["validation_accuracy" if record.spec.sealed else "test_accuracy"]
        self._print(
            f"{self.done}/{self.total} {name_of(record.spec)}: {accuracy:.2f} % at the last stage, "
            f"{seconds:.1f} s" + ("" if record.status == "done" else f", {record.status}")
        )

    @_harmless
    def on_run_error(self, spec: Spec, message: str) -> None:
        """Say why a run failed."""
        self.running.pop(spec.id, None)
        self.failures += 1
        self._print(f"{name_of(spec)}: failed: {message}")

    @_harmless
    def on_log(self, spec: Spec, message: str) -> None:
        """Say something about a run."""
        self._print(f"{name_of(spec)}: {message}")

    def _print(self, line: str) -> None:
        self.console.print(Text(line), soft_wrap=True)

    def _left(self) -> str:
        """Return how long the rest will take, from the runs so far."""
        rest = self.total - self.done - self.failures
        now, going = time.monotonic(), list(self.running.values())  # the bars are drawn by another thread
        if self.seconds:
            word, each = "about", sum(self.seconds) / len(self.seconds)
        else:
            # No run has ended. Later stages have more data as a rule: this is too little if anything.
            started = [state for state in going if state.get("stage")]
            guesses = [_spent(state, now) * state["stages"] / state["stage"] for state in started]
            word, each = "at least", max(guesses, default=0.0)
        if not each:
            return "time left not known yet"
        spent = sum(min(_spent(state, now), each) for state in going)
        seconds = max(0.0, rest * each - spent) / max(1, min(self.jobs, rest))
        return f"{word} {clock(seconds)} left"

    def __rich__(self) -> Layout:
        """Return the picture of this moment."""
        layout = Layout.grid(padding=(0, 2))
        elapsed = clock(time.monotonic() - self.began)
        layout.add_row(Text(f"{self.done}/{self.total} runs", style="bold"), f"{elapsed} gone", self._left())
        for state in list(self.running.values()):
            stage = min(state.get("stage", 0) + 1, state["stages"])
            accuracy = state.get("train_accuracy")
            layout.add_row(
                Text(state["name"]),
                f"stage {stage}/{state['stages']} epoch {state.get('epoch', 0)}",
                "" if accuracy is None else f"train {100 * accuracy:.1f} %",
            )
        return layout


def _spent(state: dict[str, Any], now: float) -> float:
    """Return the seconds of a run so far: of one that was gone on with, by the clocks of its stages."""
    return max(float(now - state["began"]), float(state.get("seconds", 0.0)))
