"""The suite of a tuning: published and chosen settings side by side, on fresh seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit

from plastibench.errors import count
from plastibench.experiments import suites
from plastibench.store import tuned_settings
from plastibench.system.files import write_atomic
from plastibench.tuning.objective import format_values
from plastibench.tuning.plan import DATA
from plastibench.tuning.storage import load_studies
from plastibench.tuning.trials import best_trials, finished_trials, trial_costs

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial


def write_suite(storage: BaseStorage, tuning: str, home: Path) -> Path | None:
    """Write the suite of a tuning; return its path, or None if no trial is complete."""
    studies = [study for study in load_studies(storage, tuning) if best_trials(study)]
    if not studies:
        return None
    num_trials = sum(len(finished_trials(study)) for study in studies)
    document = tomlkit.document()
    document["summary"] = (
        f"published and tuned settings side by side; "
        f"{count(len(studies), 'study', 'studies')}, {count(num_trials, 'trial')}"
    )
    document["baseline"] = suites.defaults().baseline
    document["code"] = {name: digest for study in studies for name, digest in _code(study)}
    grids = tomlkit.aot()
    for study in studies:
        grids.append(_table(study.user_attrs["grid"]))
        for trial in best_trials(study):
            grids.append(_table(_tuned_grid(study, trial)).comment(_describe(study, trial)))
    document["grid"] = grids
    path = tuned_settings.suite_path(home, tuning)
    write_atomic(path, tomlkit.dumps(document))
    return path


def _code(study: optuna.Study) -> Iterator[tuple[str, str]]:
    """Yield the names and the digests of the plug-ins of a study."""
    for name, digest in study.user_attrs["facts"]["code"].items():
        if name != "protocol":
            yield name, digest


def _table(grid: Mapping[str, Any]) -> tomlkit.items.Table:
    """Return a TOML table whose own tables are inline; empty ones are left out."""
    table = tomlkit.table()
    for name, value in grid.items():
        if isinstance(value, Mapping):
            inline = tomlkit.inline_table()
            inline.update(value)
            if value:
                table[name] = inline
        else:
            table[name] = value
    return table


def _describe(study: optuna.Study, trial: FrozenTrial) -> str:
    num_trials = count(len(finished_trials(study)), "trial")
    values = format_values(study.user_attrs["facts"]["objective"], trial.values)
    return f"trial {trial.number} of {num_trials} in {study.study_name}: {values} on validation data"


def _tuned_grid(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """Return the grid of a method with the settings of a trial."""
    grid, defaults = study.user_attrs["grid"], study.user_attrs["defaults"]
    changes = {name: value for name, value in trial.params.items() if value != defaults[name]}
    finished = finished_trials(study)
    origin: dict[str, Any] = {"study": study.study_name, "trials": len(finished), "trial": trial.number}
    origin |= trial_costs(finished)
    if study.user_attrs["facts"].get(DATA):
        origin["data"] = study.user_attrs["facts"][DATA]
    instead_of = {name: defaults[name] for name in changes if "." not in name}
    if instead_of:
        origin["instead_of"] = instead_of
    return {**grid, "set": {**grid["set"], **changes}, tuned_settings.KEY: origin}
