"""What a person sees of a tuning: how far each method is, the best so far, the time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Layout
from rich.text import Text

from plastibench.cli.screen import Shown, clock
from plastibench.tuning.budget import Budget
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.trials import REASON, best_trials

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

REFRESH_PER_SECOND = 1
WORDS = {"COMPLETE": "", "PRUNED": "pruned", "FAIL": "failed"}


class Board(Shown):
    """Shows the studies of a tuning, whoever works on them: a line a trial, bars on a terminal."""

    def __init__(self, console: Console, studies: Sequence[TuningStudy], budget: Budget, jobs: int) -> None:
        super().__init__(console, REFRESH_PER_SECOND)
        self.studies = studies
        self.budget = budget
        self.jobs = jobs
        self.told = {(study.plan.study_name, t.number) for study in studies for t in study.finished_trials()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Take the bars away, and say what ended meanwhile."""
        self.look()
        super().__exit__(kind, error, _)

    def look(self) -> None:
        """Say which trials have ended since the last time."""
        for study in self.studies:
            trials = study.finished_trials()
            for trial in trials:
                if (study.plan.study_name, trial.number) not in self.told:
                    self.told.add((study.plan.study_name, trial.number))
                    self.console.print(Text(self._line(study, trial, trials)), soft_wrap=True)

    def _line(self, study: TuningStudy, trial: FrozenTrial, trials: list[FrozenTrial]) -> str:
        ended = [f"{value:.6g}" for value in trial.values or ()] if trial.state.name == "COMPLETE" else []
        words = " ".join([*ended, WORDS[trial.state.name], trial.user_attrs.get(REASON, "")]).strip()
        seconds = float(trial.user_attrs.get("seconds", 0.0))
        return (
            f"{study.plan.base_spec.method.name} trial {trial.number}: {words} (best {_best(study, trials)}; "
            f"{self._used(study)}), {seconds:.1f} s"
        )

    def _used(self, study: TuningStudy) -> str:
        return f"{study.used(self.budget):,.6g} of {self.budget.describe()}"

    def _left(self, study: TuningStudy, trials: list[FrozenTrial]) -> str:
        """Return how long the rest will take, if trials go on to take as long as those so far."""
        used = study.used(self.budget)
        if not used:
            return "time left not known yet"
        seconds = sum(float(trial.user_attrs.get("seconds", 0.0)) for trial in trials)
        rest = max(0.0, self.budget.amount / used - 1) * seconds
        return f"about {clock(rest / min(self.jobs, len(self.studies)))} left"

    def __rich__(self) -> Layout:
        """Return the picture of this moment."""
        layout = Layout.grid(padding=(0, 2))
        for study in self.studies:
            trials = study.finished_trials()
            running = sum(trial.state.name == "RUNNING" for trial in study.counted_trials())
            pruned = sum(trial.state.name == "PRUNED" for trial in trials)
            layout.add_row(
                Text(study.plan.base_spec.method.name, style="bold"),
                f"{len(trials)} trials, {pruned} pruned, {running} going on",
                self._used(study),
                f"best {_best(study, trials)}",
                self._left(study, trials),
            )
        layout.add_row(f"{clock(time.monotonic() - self.began)} gone")
        return layout


def _best(study: TuningStudy, trials: list[FrozenTrial]) -> str:
    found = best_trials(study.study)
    if len(found) > 1:
        return f"{len(found)} that no other beats"
    return ", ".join(f"{value:.6g}" for value in found[0].values) if found else "none"
