"""Small real studies on digits."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import optuna

from plastibench.tuning.storage import load_studies, open_storage, tuning_names
from support.commands import SMALL, CommandResult, command

NAME = "digits-small_resnet"

COSTLY = '''"""A method of a test."""
from dataclasses import dataclass
from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class Mine(Method):
    """Pass once more over all data before each stage (arXiv 0000.00000)."""

    idle: float = tune(0.5, 0.1, 0.9)

    def start(self, learner: Learner) -> None:
        self.before_stage(learner)

    def before_stage(self, learner: Learner) -> None:
        for x, y in learner.stage.train.batches(32):
            learner.backward(learner.model, x, y)
        learner.model.zero_grad()
'''
"""With one epoch a stage it costs twice what a warm start does."""


def small_tune(home: Path, *words: object, err: TextIO | None = None) -> CommandResult:
    """Tune with runs of a fraction of a second, without MLflow; one seed per trial by default."""
    seeds = () if "--seeds-per-trial" in words else ("--seeds-per-trial", 1)
    return command("tune", "--no-mlflow", "--task", "digits", "--home", home, *SMALL, *seeds, *words, err=err)


def studies(home: Path, name: str = NAME, url: str | None = None) -> list[optuna.Study]:
    """Return the studies of a tuning."""
    store = open_storage(home, url)
    assert name in tuning_names(store)
    return load_studies(store, name)


def trials(study: optuna.Study, state: str = "COMPLETE") -> list[optuna.trial.FrozenTrial]:
    """Return the trials in a state."""
    return [trial for trial in study.get_trials() if trial.state.name == state]
