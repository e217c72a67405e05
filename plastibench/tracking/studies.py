"""A tuning in MLflow: an experiment, in it a parent run for each study, and its trials as children."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from plastibench.tracking.experiment import search
from plastibench.tracking.payload import LONGEST_VALUE, text
from plastibench.tuning.storage import load_studies, open_storage
from plastibench.tuning.trials import COSTS, REASON, best_trials, finished_trials

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from optuna.trial import FrozenTrial

    from plastibench.tracking.experiment import MlflowExperiment
    from plastibench.tracking.writer import MlflowWriter, Value

ENDS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's words for how a trial ended; the tag `state` has Optuna's."""


def board_name(tuning: str) -> str:
    """Return the name of a tuning's experiment, beside that of the leaderboard of what it chose."""
    return f"tuning/{tuning}"


class TuningMirror:
    """The studies of one tuning, brought up to date again and again. Inside the mirror's `writing`."""

    def __init__(self, mirror: MlflowWriter, home: Path, tuning: str, url: str | None) -> None:
        self.mirror = mirror
        self.tuning = tuning
        self.store = open_storage(home, url)
        self._told: dict[str, int] = {}

    def changed(self) -> list[tuple[optuna.Study, list[FrozenTrial]]]:
        """Return the studies that have trials which ended since the last time, with all that ended."""
        found = [(study, finished_trials(study)) for study in load_studies(self.store, self.tuning)]
        return [(study, trials) for study, trials in found if len(trials) != self._told.get(study.study_name)]

    def bring(self) -> int:
        """Write the trials that are not there yet; return how many."""
        added = 0
        for study, trials in self.changed():
            board = self.mirror.experiment(board_name(self.tuning))
            parent, known = self._parent(board, study), self._known(board, study)
            missing = [trial for trial in trials if trial.number not in known]
            for trial in missing:
                self._write(board, parent, study, trial)
            if missing:
                self._sum_up(parent, study, trials)
            self._told[study.study_name] = len(trials)
            added += len(missing)
        return added

    def _known(self, board: MlflowExperiment, study: optuna.Study) -> set[int]:
        """Return the numbers of the trials that are there whole; what a dead process left is removed."""
        known = set()
        for run in search(self.mirror.client, board.experiment, f"tags.kind = 'trial' and {_of(study)}"):
            if run.info.status == "RUNNING":
                self.mirror.client.delete_run(run.info.run_id)
            else:
                known.add(int(run.data.tags["trial"]))
        return known

    def _parent(self, board: MlflowExperiment, study: optuna.Study) -> str:
        what = f"tags.kind = 'study' and {_of(study)}"
        for run in search(self.mirror.client, board.experiment, what):
            return str(run.info.run_id)
        tags = {"kind": "study", "study": study.study_name, "mlflow.parentRunId": board.parent}
        tags |= _grid(study.user_attrs.get("grid", {}))
        made = self.mirror.client.create_run(board.experiment, tags=tags, run_name=study.study_name)
        facts = json.dumps(dict(study.user_attrs), indent=1, sort_keys=True)
        self.mirror.client.log_text(made.info.run_id, facts + "\n", "study.json")
        return str(made.info.run_id)

    def _write(self, board: MlflowExperiment, parent: str, study: optuna.Study, trial: FrozenTrial) -> None:
        client, start = self.mirror.client, _milliseconds(trial.datetime_start)
        tags = {
            "kind": "trial",
            "study": study.study_name,
            "trial": str(trial.number),
            "state": trial.state.name,
            "runs": ",".join(trial.user_attrs.get("runs", ()))[:LONGEST_VALUE],
            "mlflow.parentRunId": parent,
        }
        if REASON in trial.user_attrs:
            tags["reason"] = str(trial.user_attrs[REASON])[:LONGEST_VALUE]
        tags |= _grid(study.user_attrs.get("grid", {}))
        name = f"trial {trial.number}"
        run = client.create_run(board.experiment, start_time=start, tags=tags, run_name=name).info.run_id
        params = {name: text(value) for name, value in trial.params.items()}
        self.mirror.log(run, _metrics(study, trial, start), params=params)
        end = _milliseconds(trial.datetime_complete)
        client.set_terminated(run, status=ENDS[trial.state.name], end_time=end)

    def _sum_up(self, parent: str, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        top = ",".join(str(trial.number) for trial in best_trials(study))
        states = {state: sum(trial.state.name == state for trial in trials) for state in ENDS}
        tags = {"trials": str(len(trials)), "best_trial": top[:LONGEST_VALUE]}
        self.mirror.log(parent, [], tags | {state.lower(): str(count) for state, count in states.items()})
        self.mirror.client.set_terminated(parent)


def _of(study: optuna.Study) -> str:
    return f"tags.study = '{study.study_name}'"


def _grid(grid: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(grid[name]) for name in ("method", "task", "model") if name in grid}


def _metrics(study: optuna.Study, trial: FrozenTrial, start: int) -> list[Value]:
    """Return values by their objectives, the course of the first, and what was spent."""
    end = _milliseconds(trial.datetime_complete)
    names = study.user_attrs.get("facts", {}).get("objective", ["value"])
    found = [(name, value, end, 0) for name, value in zip(names, trial.values or (), strict=False)]
    course = trial.intermediate_values.items()
    found += [("course", value, start + step, step) for step, value in sorted(course)]
    spent = trial.user_attrs.get(COSTS, {})
    return found + [(f"total_{unit}", float(value), end, 0) for unit, value in spent.items()]


def _milliseconds(when: Any) -> int:  # noqa: ANN401 - a time, or None
    return 0 if when is None else int(when.timestamp() * 1000)
