"""Tunings in MLflow: an experiment for each, a parent run for each study, its trials as children."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plastibench.tracking.experiment import MlflowExperiment, search
from plastibench.tracking.payload import MAX_VALUE_LENGTH, MetricPoint, format_param, milliseconds
from plastibench.tracking.writer import MlflowWriter
from plastibench.tuning.storage import load_studies, open_storage, storage_errors
from plastibench.tuning.trials import COSTS, REASON, RULE, best_trials, finished_trials

if TYPE_CHECKING:
    from pathlib import Path

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}
"""MLflow's status for Optuna's state; the tag `state` has Optuna's."""


@dataclass(frozen=True)
class TuningSource:
    """The trials of a tuning."""

    name: str
    storage_url: str | None = field(default=None, repr=False)
    """Address of an Optuna storage; None is the journal in the home folder."""

    @property
    def experiment_name(self) -> str:
        """Return the name of the experiment, which differs from the leaderboard's of the chosen settings."""
        return f"tuning/{self.name}"


class TuningMirror:
    """Brings the trials of one tuning to MLflow."""

    def __init__(self, writer: MlflowWriter, home: Path, source: TuningSource) -> None:
        self.writer = writer
        self.source = source
        self.home = home
        self._num_written: dict[str, int] = {}

    @cached_property
    def storage(self) -> BaseStorage:
        """Return Optuna's storage. Raises RequestError if it cannot be reached."""
        return open_storage(self.home, self.source.storage_url)

    def changed_studies(self) -> list[tuple[optuna.Study, list[FrozenTrial]]]:
        """Return the studies in which trials finished since the last `update`, with all finished trials."""
        with storage_errors(self.source.storage_url):
            studies = [(s, finished_trials(s)) for s in load_studies(self.storage, self.source.name)]
        return [(s, trials) for s, trials in studies if len(trials) != self._num_written.get(s.study_name)]

    def update(self) -> int:
        """Write the trials that MLflow does not have, in a session of the writer; return how many."""
        num_added = 0
        for study, trials in self.changed_studies():
            experiment = self.writer.experiment(self.source.experiment_name)
            parent, written = self._parent(experiment, study), self._written(experiment, study)
            missing = [trial for trial in trials if _key(trial) not in written]
            for trial in missing:
                self._write(experiment, parent, study, trial)
            if missing:
                self._summarize(parent, study, trials)
            self._num_written[study.study_name] = len(trials)
            num_added += len(missing)
        return num_added

    def _written(self, experiment: MlflowExperiment, study: optuna.Study) -> set[tuple[int, int]]:
        """Return the keys of the trials that MLflow has; those that a dead process left are deleted."""
        keys, query = set(), f"tags.kind = 'trial' and tags.study = '{study.study_name}'"
        for run in search(self.writer.client, experiment.id, query):
            if run.info.status == "RUNNING":
                self.writer.client.delete_run(run.info.run_id)
            else:
                keys.add((int(run.data.tags["trial"]), int(run.info.start_time)))
        return keys

    def _parent(self, experiment: MlflowExperiment, study: optuna.Study) -> str:
        query = f"tags.kind = 'study' and tags.study = '{study.study_name}'"
        for run in search(self.writer.client, experiment.id, query):
            return str(run.info.run_id)
        tags = {"kind": "study", "mlflow.parentRunId": experiment.parent, **_study_tags(study)}
        parent = self.writer.client.create_run(experiment.id, tags=tags, run_name=study.study_name)
        attributes = json.dumps(dict(study.user_attrs), indent=1, sort_keys=True)
        self.writer.log_text(parent.info.run_id, attributes + "\n", "study.json")
        return str(parent.info.run_id)

    def _write(
        self, experiment: MlflowExperiment, parent: str, study: optuna.Study, trial: FrozenTrial
    ) -> None:
        client, start = self.writer.client, milliseconds(trial.datetime_start)
        tags = {
            "kind": "trial",
            "trial": str(trial.number),
            "state": trial.state.name,
            "runs": ",".join(trial.user_attrs.get("runs", ()))[:MAX_VALUE_LENGTH],
            "mlflow.parentRunId": parent,
            **_study_tags(study),
        }
        texts = {name: trial.user_attrs[name] for name in (REASON, RULE) if name in trial.user_attrs}
        tags |= {name: str(text)[:MAX_VALUE_LENGTH] for name, text in texts.items()}
        name = f"trial {trial.number}"
        run = client.create_run(experiment.id, start_time=start, tags=tags, run_name=name).info.run_id
        params = {name: format_param(value) for name, value in trial.params.items()}
        self.writer.log(run, _points(study, trial), params=params)
        end = milliseconds(trial.datetime_complete)
        client.set_terminated(run, status=STATUSES[trial.state.name], end_time=end)

    def _summarize(self, parent: str, study: optuna.Study, trials: Sequence[FrozenTrial]) -> None:
        states = [trial.state.name for trial in trials]
        best = ",".join(str(trial.number) for trial in best_trials(study))
        tags = {"trials": str(len(trials)), "best_trial": best[:MAX_VALUE_LENGTH]}
        tags |= {state.lower(): str(states.count(state)) for state in STATUSES}
        self.writer.log(parent, [], tags)
        self.writer.client.set_terminated(parent)


def _key(trial: FrozenTrial) -> tuple[int, int]:
    """Return what tells a trial from those of all home folders that have a study of this name."""
    return trial.number, milliseconds(trial.datetime_start)


def _study_tags(study: optuna.Study) -> dict[str, str]:
    grid: Mapping[str, Any] = study.user_attrs.get("grid", {})
    names = [name for name in ("method", "task", "model") if name in grid]
    return {"study": study.study_name} | {name: str(grid[name]) for name in names}


def _points(study: optuna.Study, trial: FrozenTrial) -> list[MetricPoint]:
    """Return the values by their objectives, the reported values of the first, and the costs."""
    start, end = milliseconds(trial.datetime_start), milliseconds(trial.datetime_complete)
    names = study.user_attrs.get("facts", {}).get("objective", ["value"])
    # A pruned trial has the value that it reached: among those of complete trials it would look like one.
    values = trial.values if trial.state.name == "COMPLETE" else ()
    points = [MetricPoint(name, value, end, 0) for name, value in zip(names, values, strict=False)]
    reports = sorted(trial.intermediate_values.items())
    points += [MetricPoint("course", value, start + step, step) for step, value in reports]
    costs = trial.user_attrs.get(COSTS, {})
    return points + [MetricPoint(f"total_{unit}", float(cost), end, 0) for unit, cost in costs.items()]
