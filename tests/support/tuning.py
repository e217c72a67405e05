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
        assert self.idle
        self.before_stage(learner)

    def before_stage(self, learner: Learner) -> None:
        for x, y in learner.stage.train.batches(32):
            learner.backward(learner.model, x, y)
        learner.model.zero_grad()
'''
"""With one epoch a stage it costs twice what a warm start does."""


FADING = '''"""A method of a test."""
import time
from dataclasses import dataclass
from pathlib import Path
from plastibench.api import Learner, Method, tune


@dataclass(kw_only=True)
class Fading(Method):
    """Set all weights to 0 at each step, from the second stage on, unless `keep` is 1 (arXiv 0000.00000)."""

    keep: float = tune(1.0, 0.0, 1.0)

    def after_step(self, learner: Learner) -> None:
        for weight in learner.model.parameters():
            weight.mul_(float(self.keep == 1.0 or learner.stage.index == 0))
        if Path(__file__).with_name("slow").exists():
            time.sleep(0.05)
'''
"""Only the published settings can learn more than one stage."""
SETTINGS = ("stages=3", "max_epochs=12", "width=4", "train_size=130", "learning_rate=0.1")
LEARNING = tuple(word for setting in SETTINGS for word in ("--set", setting))
"""Settings of a run of a second that learns."""


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
