"""The display of a tuning."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from plastibench.display.tunings import TuningProgress
from plastibench.runner.workspace import Workspace
from plastibench.tuning.budget import Budget
from plastibench.tuning.heartbeat import TuningWorker
from plastibench.tuning.plan import StudyConfig, make_plans
from plastibench.tuning.storage import open_storage
from plastibench.tuning.study import TuningStudy
from plastibench.workflows.request import Selection


def a_study(home: Path) -> TuningStudy:
    """Return a study of two stages and three seeds, without trials."""
    selection = Selection(
        workspace=Workspace(home=home),
        tasks=("digits",),
        methods=("shrink_perturb",),
        settings={"stages": "2"},
    )
    config = StudyConfig(objectives=("mean",), num_seeds=3, pruning=True)
    registry = selection.workspace.registry
    (plan,) = make_plans(selection.resolved_suite, selection.specs, registry, config, "mine")
    return TuningStudy.open(plan, open_storage(home, None), home)


def test_every_running_trial_has_a_line_with_its_stages(tmp_path: Path) -> None:
    study, budget = a_study(tmp_path), Budget("trials", 4)
    progress = TuningProgress(Console(file=io.StringIO(), width=120))
    progress.on_start([study], budget, num_workers=2)
    with TuningWorker.start(tmp_path) as worker:
        trials = [study.ask(budget, worker) for _ in range(2)]
        assert trials[0] is not None
        trials[0].report(78.25, 0)
        trials[0].report(80.5, 1)
        progress.console.print(progress)
    assert isinstance(progress.console.file, io.StringIO)
    head, summary, first, second = (line.split() for line in progress.console.file.getvalue().splitlines())
    assert "left" in head or "known" in head
    assert summary[:2] == ["shrink_perturb", "0"]
    assert "2 running" in " ".join(summary)
    assert first == ["trial", "0", "0:00", "running,", "stage", "2/6", "80.5", "%", "so", "far"]
    assert second == ["trial", "1", "0:00", "running"]
