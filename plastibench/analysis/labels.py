"""Labels of methods and of settings: what tables, figures and MLflow call them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plastibench.errors import count
from plastibench.experiments.presets import has_preset_values, preset_label
from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.values import show
from plastibench.store import tuned_settings
from plastibench.store.record import DATA_DIGITS, Record
from plastibench.store.tuned_settings import TunedSettings

RECIPE_SETTINGS = ("optimizer", "learning_rate", "batch_size", "target_accuracy", "precision")
"""Settings of the recipe that are part of every setting's label."""


def method_labels(methods: Sequence[Part]) -> list[str]:
    """Return a label for each method: its name, and what distinguishes methods of that name.

    That is NAME:PRESET for a preset's settings, NAME alone for the defaults and for a method's only settings,
    else the settings that differ.
    """
    distinct = {id(method): method for method in methods}  # seeds of a method usually share one object
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for method in distinct.values():
        others = variants.setdefault(method.name, [])
        if _identity(method) not in others:
            others.append(_identity(method))
    labels = {key: _label(method, variants[method.name]) for key, method in distinct.items()}
    return [labels[id(method)] for method in methods]


def record_labels(records: Sequence[Record]) -> list[str]:
    """Return a label for the method of each record; tuned methods are labeled with their number of trials.

    If a file that plug-ins read had several contents, the labels name which: such runs are not averaged.
    """
    origins = [tuned_settings.from_record(record) for record in records]
    pairs = list(zip(records, origins, strict=True))
    untuned = iter(method_labels([record.spec.method for record, origin in pairs if not _is_tuned(origin)]))
    trials: dict[str, set[tuple[str, int]]] = {}
    for record, origin in pairs:
        if origin is not None:
            trials.setdefault(_tuned(record, origin), set()).add((origin.study, origin.trial))

    def label(record: Record, origin: TunedSettings | None) -> str:
        if origin is None or origin.published:
            return next(untuned)
        tuned = _tuned(record, origin)
        return f"{tuned}, trial {origin.trial} of {origin.study})" if len(trials[tuned]) > 1 else f"{tuned})"

    several = _paths_with_several_contents(records)
    return [label(record, origin) + _file_versions(record, several) for record, origin in pairs]


def _paths_with_several_contents(records: Sequence[Record]) -> set[str]:
    """Return the files that plug-ins read with another content in one run than in another."""
    contents: dict[str, set[str]] = {}
    for record in records:
        for path, digest in record.files.items():
            contents.setdefault(path, set()).add(digest)
    return {path for path, digests in contents.items() if len(digests) > 1}


def _file_versions(record: Record, several: set[str]) -> str:
    """Return which contents a run has read of files that have several; usually empty."""
    versions = {
        Path(path).name: digest[:DATA_DIGITS] for path, digest in record.files.items() if path in several
    }
    return f"[{assignments(versions, ',')}]" if versions else ""


def _is_tuned(origin: TunedSettings | None) -> bool:
    return origin is not None and not origin.published


def _tuned(record: Record, origin: TunedSettings) -> str:
    return f"{record.spec.method.name} (tuned, {count(origin.trials, 'trial')}"


def record_settings(record: Record) -> str:
    """Return the method of a record with all its settings, and the tuning that chose them if there is one."""
    origin = tuned_settings.from_record(record)
    recipe = {name: record.spec.recipe[name] for name in origin.instead_of} if origin else {}
    text = f"{record.spec.method.name}: {assignments({**record.spec.method.settings, **recipe})}".rstrip()
    if origin is None:
        return text
    which = "the published settings" if origin.published else f"trial {origin.trial}"
    cost = f", which took {tuned_settings.format_cost(origin.cost)}" if origin.cost else ""
    return f"{text} ({which} of {count(origin.trials, 'trial')} in study {origin.study}{cost})"


def setting_label(spec: Spec) -> str:
    """Return the task, the model, the main settings of the recipe, and the device."""
    recipe = {name: spec.recipe[name] for name in RECIPE_SETTINGS if name in spec.recipe}
    task = {name: value for name, value in spec.task_settings.items() if value not in (None, 0.0, "", [])}
    return f"{spec.task.name} ({assignments(task)}), {spec.model.name}, {assignments(recipe)}, {spec.device}"


def setting_difference(record: Record, others: Sequence[Record]) -> str:
    """Return the values of a setting, and its data, that differ from any other's: method and seed aside."""
    return assignments(_differing(_setting_values(record), [_setting_values(other) for other in others]))


def short_data(record: Record) -> str:
    """Return the first digits of the checksum of a record's data."""
    return (record.data or "unknown")[:DATA_DIGITS]


def method_difference(method: Part, other: Part) -> str:
    """Return the settings of `method`, and its code, if they differ from those of `other`."""
    return assignments(_differing(_identity(method), [_identity(other)]))


def assignments(values: Mapping[str, Any], separator: str = " ") -> str:
    """Return values as "NAME=VALUE NAME=VALUE", as a user would type them."""
    return separator.join(f"{name}={show(value)}" for name, value in values.items())


def _label(method: Part, variants: list[Mapping[str, Any]]) -> str:
    differing = _differing(_identity(method), variants)
    if not differing:
        return (has_preset_values(method) and preset_label(method)) or method.name
    known = None if "code" in differing else preset_label(method)
    return known or f"{method.name}[{assignments(differing, ',')}]"


def _identity(method: Part) -> dict[str, Any]:
    return {**method.settings, "code": method.code}


def _setting_values(record: Record) -> dict[str, Any]:
    spec = tuned_settings.untuned_spec(record)
    code: dict[str, str] = {}
    for kind, part in spec.parts:
        if kind != "method":
            code[f"{kind}.code"] = "+".join(filter(None, (code.get(f"{kind}.code"), part.code)))
    rest = {"protocol": spec.protocol, "device": spec.device, "data": short_data(record)}
    return {**spec.task_settings, **spec.model.settings, **spec.recipe, **code, **rest}


def _differing(values: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        name: value for name, value in values.items() if any(other.get(name) != value for other in others)
    }
