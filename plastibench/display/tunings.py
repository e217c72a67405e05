"""Progress of a tuning: a live display on a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from plastibench.display.screen import LiveDisplay, format_duration
from plastibench.errors import count
from plastibench.tuning.callbacks import TuningCallback
from plastibench.tuning.objective import format_values
from plastibench.tuning.time_left import seconds_left
from plastibench.workflows.trial_logger import format_best, format_used

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from plastibench.tuning.budget import Budget
    from plastibench.tuning.study import TuningStudy


class TuningProgress(LiveDisplay, TuningCallback):
    """Show each study, its running trials and the time left, whichever processes run them."""

    refresh_per_second = 1

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.studies: Sequence[TuningStudy] = ()

    def on_start(self, studies: Sequence[TuningStudy], budget: Budget, num_workers: int) -> None:
        """Show the studies."""
        self.budget, self.num_workers, self.studies = budget, num_workers, studies

    def fraction(self) -> float:
        """Return which part of the budgets is used."""
        used = [study.used(self.budget) / self.budget.amount for study in self.studies]
        return min(1.0, sum(used) / len(used)) if used else 0.0

    def time_left(self) -> str:
        """Return how long the rest will take if trials take as long as those so far."""
        left = seconds_left(self.studies, self.budget, self.num_workers) if self.studies else None
        return "time left not known yet" if left is None else f"about {format_duration(left)} left"

    def __rich__(self) -> Group:
        """Return a line for all studies, one for each, and one for each trial that is running."""
        head = Text(f"{self.elapsed()} elapsed  {self.time_left()}")
        layout = RichTable.grid(padding=(0, 2))
        layout.add_column(no_wrap=True, overflow="ellipsis")  # a line each, also on a narrow terminal
        for study in self.studies:
            finished = study.finished_trials()
            running = sum(trial.state.name == "RUNNING" for trial in study.counted_trials())
            pruned = sum(trial.state.name == "PRUNED" for trial in finished)
            done = "" if self.budget.unit == "trials" else f"{count(len(finished), 'trial')}, "
            layout.add_row(
                Text(study.plan.base_spec.method.name, style="bold"),
                format_used(study, self.budget),
                f"{done}{pruned} pruned, {running} running",
                f"best {format_best(study)}",
            )
            for trial in study.counted_trials():
                if trial.state.name == "RUNNING":
                    layout.add_row("", *_running_cells(study, trial))
        return Group(head, layout) if self.studies else Group(head)


def _running_cells(study: TuningStudy, trial: FrozenTrial) -> tuple[str, str, str]:
    """Return a trial's number, how long it has been running, and how far it is if it reports its stages."""
    start = trial.datetime_start
    seconds = 0.0 if start is None else time.time() - start.timestamp()
    stages = study.plan.num_stages * study.plan.config.num_seeds
    reports = trial.intermediate_values
    if not reports:
        return f"trial {trial.number}", f"{format_duration(seconds)} running", ""
    value = format_values(study.plan.config.objectives, [reports[max(reports)]])
    stage = f"stage {max(reports) + 1}/{stages}"
    return f"trial {trial.number}", f"{format_duration(seconds)} running, {stage}", f"{value} so far"
