"""Which settings a tuning chose: saved beside the runs, since it does not affect their numbers."""

import json
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid
from plastibench.experiments.spec import Spec
from plastibench.experiments.suites import Suite
from plastibench.store.record import DATA_DIGITS, Record
from plastibench.system.files import is_left_behind, set_aside, write_atomic
from plastibench.system.locks import file_lock

FOLDER = "tuned"
FILE = "chosen.json"
COSTS = ("passes", "flops", "seconds")
"""What a study took, all trials together."""
KEY = "tuned"
"""The field of a record's provenance that says where its settings come from."""


@dataclass(frozen=True)
class TunedSettings:
    """Where the settings of a method come from."""

    study: str
    trials: int
    """Number of trials when the settings were chosen."""
    trial: int
    """Number of the chosen trial."""
    instead_of: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the recipe that were tuned, too, with the values that other methods use."""
    data: str | None = None
    """Checksum of the data of its trials, or beside runs that of the runs; None if it is not known."""
    published: bool = False
    """Whether the published settings themselves were chosen, because nothing better was found."""
    passes: float | None = None
    """Examples passed forward and backward in all trials of the study, as `flops` and `seconds` are those of
    all trials; None if it is not known."""
    flops: float | None = None
    seconds: float | None = None

    @property
    def cost(self) -> dict[str, float]:
        """Return what all trials of the study took, as far as it is known, by the names of costs of runs."""
        values = {name: getattr(self, name) for name in COSTS}
        return {name: float(value) for name, value in values.items() if value is not None}

    def with_cost(self, cost: Mapping[str, float]) -> "TunedSettings":
        """Return the same with these costs, beside those that it has."""
        fields: dict[str, Any] = dict(cost)
        return replace(self, **fields)


def format_cost(cost: Mapping[str, float]) -> str:
    """Return the known costs of a study, each with its unit."""
    units = {
        "passes": ("{:,.0f} passes", 1.0),
        "flops": ("{:,.4g} TFLOPs", 1e12),
        "seconds": ("{:,.1f} s", 1.0),
    }
    return ", ".join(text.format(cost[name] / unit) for name, (text, unit) in units.items() if name in cost)


def suite_path(home: Path, name: str) -> Path:
    """Return the path of the suite that a tuning writes. Raises RequestError if the name is a path."""
    if not name or name != Path(name).name:
        raise RequestError(f"tuning {name!r} is not allowed: the name must not contain slashes")
    return home / FOLDER / f"{name}.toml"


def plugins_path(home: Path, name: str) -> Path:
    """Return the path of the plug-ins for which a tuning chose the settings."""
    return suite_path(home, name).with_suffix(".plugins.zip")


def suite_names(home: Path) -> list[str]:
    """Return the names of the tunings whose suites are in a home folder."""
    paths = (home / FOLDER).glob("*.toml")
    return sorted(path.stem for path in paths if not is_left_behind(path.name))


def copy_suite(name: str, source: Path, target: Path) -> bool:
    """Copy the suite of a tuning and its plug-ins into another home folder, and return True.

    If there is one of that name, nothing is copied; return whether it is the same.
    """
    content = suite_path(source, name).read_bytes()
    path = suite_path(target, name)
    if path.exists():
        return path.read_bytes() == content
    path.parent.mkdir(parents=True, exist_ok=True)
    plugins = plugins_path(source, name)
    if plugins.exists():
        write_atomic(plugins_path(target, name), plugins.read_bytes())
    write_atomic(path, content)
    return True


def load_suite(home: Path, name: str | None, task: str | None) -> Suite:
    """Return the suite that a tuning wrote: by its name, or the only one (of a task, if given).

    Raises RequestError if there is none, or more than one.
    """
    names = suite_names(home)
    if name is not None and name not in names:
        raise unknown("tuning in this home folder", name, names)
    loaded = [suites.load(str(suite_path(home, each))) for each in ([name] if name else names)]
    matching = [suite for suite in loaded if not task or any(task in grid.tasks for grid in suite.grids)]
    if len(matching) != 1:
        listed = ", ".join(suite.name for suite in matching) or "none"
        raise RequestError(
            f"--tuned needs the name of one tuning in {home}, as written by `tune` (there are: {listed})"
        )
    return matching[0]


def save(home: Path, chosen: Mapping[str, TunedSettings]) -> None:
    """Add settings, by variant, to those that tunings chose."""
    added = {variant: asdict(settings) for variant, settings in chosen.items()}
    if added.items() <= _read(home).items():
        return
    path = home / FOLDER / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_lock(path.with_name(f".{FILE}.lock"), remove=True):
        with suppress(FileNotFoundError):
            try:
                json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                set_aside(path, error)
        write_atomic(path, json.dumps(_read(home) | added, indent=1, sort_keys=True) + "\n")


def load(home: Path) -> dict[str, TunedSettings]:
    """Return the settings that tunings chose, by variant. Raises RequestError for what no tuning writes."""
    return parse(_read(home))


def parse(chosen: Mapping[str, Any]) -> dict[str, TunedSettings]:
    """Return settings that tunings chose, from plain values. Raises RequestError as `load` does."""
    return {variant: _parse(fields) for variant, fields in chosen.items()}


def attach(records: Iterable[Record], chosen: Mapping[str, TunedSettings]) -> list[Record]:
    """Return records with the tuning that chose their settings, on their data, in the provenance."""
    records = list(records)
    if not chosen:
        return records
    return [_attach(record, chosen.get(record.variant_id)) for record in records]


def from_grids(specs_by_grid: Iterable[tuple[Grid, Iterable[Spec]]]) -> dict[str, TunedSettings]:
    """Return the settings of a suite that a tuning chose, by variant.

    Raises RequestError for a table that no tuning writes.
    """
    pairs = list(specs_by_grid)
    if all(grid.tuned is None for grid, _ in pairs):
        return {}
    published: set[str] = set()
    chosen: dict[str, TunedSettings] = {}
    for grid, specs in pairs:
        variants = {spec.variant_id for spec in specs}
        if grid.tuned is None:
            published |= variants
        else:
            chosen |= dict.fromkeys(variants, _parse(grid.tuned))
    return {variant: replace(origin, published=variant in published) for variant, origin in chosen.items()}


def united(first: TunedSettings, second: TunedSettings) -> TunedSettings | None:
    """Return what two accounts of one choice say together, of each cost the higher; None if they differ."""
    cost = {name: max(first.cost.get(name, 0.0), value) for name, value in second.cost.items()}
    known = first.with_cost(cost)
    return known if second.with_cost(known.cost) == known else None


def from_record(record: Record) -> TunedSettings | None:
    """Return where the settings of a record come from, or None if no tuning chose them."""
    fields = record.provenance.get(KEY)
    return None if fields is None else TunedSettings(**fields)


def condition_id(record: Record) -> str:
    """Return what a record shares with those that it may be compared with: the setting and the data."""
    setting = record.condition_id if from_record(record) is None else untuned_spec(record).condition_id
    return setting if record.data is None else f"{setting}-{record.data[:DATA_DIGITS]}"


def untuned_spec(record: Record) -> Spec:
    """Return the spec of a record with the recipe that other methods use."""
    settings = from_record(record)
    if settings is None:
        return record.spec
    return replace(record.spec, recipe={**record.spec.recipe, **settings.instead_of})


def _attach(record: Record, origin: TunedSettings | None) -> Record:
    if origin is None or (record.data and origin.data not in (None, record.data)):
        return record
    return record.with_provenance(**{KEY: asdict(origin)})


def _parse(fields: Mapping[str, Any]) -> TunedSettings:
    try:
        chosen = TunedSettings(**fields)
    except TypeError as error:
        allowed = ", ".join(TunedSettings.__dataclass_fields__)
        raise RequestError(f"tuned = {dict(fields)} is not what a tuning writes: {allowed}") from error
    valid = {
        "study": type(chosen.study) is str,
        "trials": type(chosen.trials) is int and chosen.trials > 0,
        "trial": type(chosen.trial) is int and chosen.trial >= 0,
        "instead_of": type(chosen.instead_of) is dict,
        "data": chosen.data is None or type(chosen.data) is str,
        "published": type(chosen.published) is bool,
        **{name: _is_cost(getattr(chosen, name)) for name in COSTS},
    }
    for name, good in valid.items():
        if not good:
            raise RequestError(f"{name} of a tuning is {getattr(chosen, name)!r:.60}")
    return chosen


def _is_cost(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value <= sys.float_info.max)  # type: ignore[operator]


def _read(home: Path) -> dict[str, Any]:
    try:
        chosen: dict[str, Any] = json.loads((home / FOLDER / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # no tuning, or a damaged file, which the next run of the suite writes again
    return chosen
