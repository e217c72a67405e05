"""Which settings were chosen by a tuning: kept beside the runs, since it decides no number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec, canonical
from plastibench.experiments.suites import Suite
from plastibench.store.record import Record
from plastibench.system.files import write_atomic

FOLDER = "tuned"
REGISTRY = "chosen.json"
KEY = "tuned"
"""Where the provenance of a record says that its settings were chosen."""


@dataclass(frozen=True)
class TunedSettings:
    """Where the settings of a method come from."""

    study: str
    trials: int
    """How many were made when the settings were chosen."""
    trial: int
    """The number of the one that was chosen."""
    instead_of: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the recipe that were chosen with the method's own, and what the others are trained with."""
    published: bool = False
    """Whether nothing better than the published settings was found: they are what was chosen."""


def variant_id(spec: Spec) -> str:
    """Return what the runs of a method under one setting have in common: all but the seed."""
    return hashlib.sha256(canonical(replace(spec, seed=0).as_dict()).encode()).hexdigest()[:16]


def suite_path(home: Path, name: str) -> Path:
    """Return the suite that a tuning wrote. Raises RequestError for a name that is a path."""
    if not name or name != Path(name).name:
        raise RequestError(f"tuning {name!r} is not allowed: a name without slashes is needed")
    return home / FOLDER / f"{name}.toml"


def suite_names(home: Path) -> list[str]:
    """Return the tunings whose suites are in a home folder."""
    return sorted(file.stem for file in (home / FOLDER).glob("*.toml"))


def save(home: Path, chosen: Mapping[str, TunedSettings]) -> None:
    """Add settings to those that are known to be chosen, by their variant."""
    known = _read(home)
    found = known | {name: asdict(one) for name, one in chosen.items()}
    if found != known:
        (home / FOLDER).mkdir(parents=True, exist_ok=True)
        write_atomic(home / FOLDER / REGISTRY, json.dumps(found, indent=1, sort_keys=True) + "\n")


def load(home: Path) -> dict[str, TunedSettings]:
    """Return the settings that are known to be chosen, by their variant."""
    return {name: _tuned(plain) for name, plain in _read(home).items()}


def attach(records: Iterable[Record], home: Path) -> list[Record]:
    """Return records that say where their settings come from, where that is known."""
    known, found = _read(home), list(records)
    if not known:
        return found
    variants: dict[tuple[object, ...], str] = {}  # seeds of a method share their parts, as a rule
    return [_attached(record, known, variants) for record in found]


def from_grids(specs_by_grid: Iterable[tuple[Grid, Iterable[Spec]]]) -> dict[str, TunedSettings]:
    """Return which settings of a suite a tuning chose, by their variant.

    Raises RequestError for a table that no tuning writes.
    """
    pairs = list(specs_by_grid)
    if all(grid.tuned is None for grid, _ in pairs):
        return {}
    given: set[str] = set()
    chosen: dict[str, TunedSettings] = {}
    for grid, specs in pairs:
        variants = {variant_id(spec) for spec in specs}
        if grid.tuned is None:
            given |= variants
        else:
            chosen |= dict.fromkeys(variants, _tuned(grid.tuned))
    return {variant: replace(origin, published=variant in given) for variant, origin in chosen.items()}


def _tuned(plain: Mapping[str, Any]) -> TunedSettings:
    try:
        return TunedSettings(**plain)
    except TypeError as error:
        allowed = ", ".join(TunedSettings.__dataclass_fields__)
        raise RequestError(f"tuned = {dict(plain)} is not what a tuning writes: {allowed}") from error


def load_suite(home: Path, name: str | None, task: str | None) -> Suite:
    """Return the suite that a tuning wrote: by its name, or the only one there is of a task.

    Raises RequestError where there is none, or more than one.
    """
    known = suite_names(home)
    if name is not None and name not in known:
        raise unknown("tuning in this home folder", name, known)
    found = [suites.load(str(suite_path(home, one))) for one in ([name] if name else known)]
    if task is not None:
        found = [one for one in found if any(task in grid.tasks for grid in one.grids)]
    if len(found) != 1:
        listed = ", ".join(one.name for one in found) or "none"
        raise RequestError(
            f"--tuned needs the name of one tuning in {home}, such as `tune` writes (there are: {listed})"
        )
    return found[0]


def from_record(record: Record) -> TunedSettings | None:
    """Return where the settings of a record come from; None for those that somebody gave."""
    found = record.provenance.get(KEY)
    return None if found is None else TunedSettings(**found)


def _attached(record: Record, known: Mapping[str, Any], variants: dict[tuple[object, ...], str]) -> Record:
    spec = record.spec
    parts = (
        *map(id, (spec.task, spec.model, spec.recipe, spec.method)),
        spec.device,
        spec.protocol,
        spec.sealed,
    )
    if parts not in variants:
        variants[parts] = variant_id(spec)
    found = known.get(variants[parts])
    return record if found is None else record.with_provenance(**{KEY: found})


def condition_id(record: Record) -> str:
    """Return what a record has in common with those that it may be compared with."""
    return record.condition_id if from_record(record) is None else untuned_spec(record).condition_id()


def untuned_spec(record: Record) -> Spec:
    """Return the description with the recipe that the methods beside it are trained with."""
    found = from_record(record)
    if found is None:
        return record.spec
    return replace(record.spec, recipe={**record.spec.recipe, **found.instead_of})


def _read(home: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((home / FOLDER / REGISTRY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no tuning, or a file that the next run of the suite writes anew
    return found
