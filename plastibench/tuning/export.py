"""What came out of a tuning, as a suite that anybody can run: published and chosen settings, fresh seeds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plastibench.experiments import suites
from plastibench.store import tuned_settings
from plastibench.system.files import write_atomic
from plastibench.tuning.storage import load_studies
from plastibench.tuning.study import best_trials, finished_trials

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

BARE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def write_suite(store: BaseStorage, name: str, home: Path) -> Path | None:
    """Write the suite of a tuning; return where it is, or None where no trial was judged yet."""
    studies = [study for study in load_studies(store, name) if best_trials(study, finished_trials(study))]
    if not studies:
        return None
    lines = [f"summary = {_text(_summary(studies))}", f"baseline = {_text(suites.defaults().baseline)}", ""]
    for study in studies:
        grid = study.user_attrs["grid"]
        lines += _table(grid)
        for trial in best_trials(study, finished_trials(study)):
            lines += [f"# {_words(study, trial)}", *_table(_chosen(study, trial))]
    path = tuned_settings.suite_path(home, name)
    write_atomic(path, "\n".join(lines))
    return path


def _summary(studies: list[optuna.Study]) -> str:
    trials = sum(len(finished_trials(study)) for study in studies)
    return f"published and tuned settings side by side; {len(studies)} studies, {trials} trials"


def _words(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> str:
    values = ", ".join(f"{name} {value:.6g}" for name, value in _values(study, trial))
    count = len(finished_trials(study))
    return f"trial {trial.number} of {count} in {study.study_name}: {values} on validation data"


def _values(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> Iterator[tuple[str, float]]:
    return zip(study.user_attrs["facts"]["objective"], trial.values, strict=True)


def _chosen(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the grid of a method with the settings of a trial."""
    grid, defaults = study.user_attrs["grid"], study.user_attrs["defaults"]
    changed = {name: value for name, value in trial.params.items() if value != defaults[name]}
    instead_of = {name: defaults[name] for name in changed if "." not in name}
    where: dict[str, Any] = {
        "study": study.study_name,
        "trials": len(finished_trials(study)),
        "trial": trial.number,
    }
    if instead_of:
        where["instead_of"] = instead_of
    return {**grid, "set": {**grid["set"], **changed}, tuned_settings.KEY: where}


def _table(grid: Mapping[str, Any]) -> list[str]:
    return ["[[grid]]", *(f"{key} = {_value(value)}" for key, value in grid.items() if value != {}), ""]


def _value(value: object) -> str:
    """Return a value in TOML, with every digit of a number."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return repr(value) if isinstance(value, int | float) else _text(str(value))


def _key(name: str) -> str:
    return name if set(name) <= BARE else _text(name)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)  # TOML's basic strings have the same escapes
