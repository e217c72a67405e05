"""Names for people: of a method with its settings, and of what a table's runs have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.fields import show
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.tuned_settings import TunedSettings

SHOWN = ("optimizer", "learning_rate", "batch_size", "target_accuracy", "precision")
"""Settings of the recipe that every title has."""


def method_labels(parts: Sequence[Part]) -> list[str]:
    """Return a name for each method; where one name stands for several settings, what differs is shown."""
    apart = {id(part): part for part in parts}  # seeds of a method share one, as a rule
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for part in apart.values():
        known = variants.setdefault(part.name, [])
        if _identity(part) not in known:
            known.append(_identity(part))
    labels = {place: _label(part, variants[part.name]) for place, part in apart.items()}
    return [labels[id(part)] for part in parts]


def record_labels(records: Sequence[Record]) -> list[str]:
    """Return a name for the method of each record; one whose settings a tuning chose says so."""
    chosen = [tuned_settings.from_record(record) for record in records]
    pairs = list(zip(records, chosen, strict=True))
    given = iter(method_labels([record.spec.method for record, origin in pairs if _is_given(origin)]))
    trials: dict[str, set[tuple[str, int]]] = {}
    for record, origin in pairs:
        if origin is not None:
            trials.setdefault(_tuned(record, origin), set()).add((origin.study, origin.trial))
    return [_name(record, origin, given, trials) for record, origin in pairs]


def _is_given(origin: TunedSettings | None) -> bool:
    return origin is None or origin.published


def _name(
    record: Record,
    origin: TunedSettings | None,
    given: Iterator[str],
    trials: Mapping[str, set[tuple[str, int]]],
) -> str:
    if origin is None or origin.published:
        return next(given)
    label = _tuned(record, origin)
    if len(trials[label]) > 1:
        return f"{label}, trial {origin.trial} of {origin.study})"
    return f"{label})"


def _tuned(record: Record, origin: TunedSettings) -> str:
    return f"{record.spec.method.name} (tuned, {origin.trials} trials"


def record_settings(record: Record) -> str:
    """Return a record's method with all its settings in a line, and where they come from."""
    origin, text = tuned_settings.from_record(record), settings_text(record.spec.method)
    if origin is None:
        return text
    more = [f"{name}={show(_plain(record.spec.recipe[name]))}" for name in origin.instead_of]
    which = "the published settings" if origin.published else f"trial {origin.trial}"
    return f"{' '.join([text, *more])} ({which} of {origin.trials} trials in study {origin.study})"


def _identity(part: Part) -> dict[str, Any]:
    return {**part.settings, "code": part.code}


def _label(part: Part, variants: list[Mapping[str, Any]]) -> str:
    shown = [
        f"{name}={show(_plain(value))}"
        for name, value in _identity(part).items()
        if any(other.get(name) != value for other in variants)
    ]
    return f"{part.name}[{','.join(shown)}]" if shown else part.name


def settings_text(part: Part) -> str:
    """Return a method with all its settings in a line."""
    return " ".join(
        [f"{part.name}:", *(f"{name}={show(_plain(value))}" for name, value in part.settings.items())]
    )


def setting_label(spec: Spec) -> str:
    """Return task, model and the recipe's main settings in a line."""
    recipe = " ".join(f"{name}={show(_plain(spec.recipe[name]))}" for name in SHOWN if name in spec.recipe)
    task = " ".join(f"{k}={show(_plain(v))}" for k, v in spec.task.settings.items() if v not in (None, 0.0))
    return f"{spec.task.name} ({task}), {spec.model.name}, {recipe}, {spec.device}"


def difference(spec: Spec, others: Sequence[Spec]) -> str:
    """Return the settings in which `spec` differs from any of `others`."""
    mine, theirs = _flat(spec), [_flat(other) for other in others]
    return " ".join(
        f"{name}={show(_plain(value))}"
        for name, value in mine.items()
        if any(other.get(name) != value for other in theirs)
    )


def part_difference(part: Part, other: Part) -> str:
    """Return the settings of `part`, its code among them, in which it differs from `other`."""
    theirs = _identity(other)
    return " ".join(
        f"{name}={show(_plain(value))}"
        for name, value in _identity(part).items()
        if theirs.get(name) != value
    )


def _flat(spec: Spec) -> dict[str, Any]:
    parts = {f"{what}.code": part.code for what, part in (("task", spec.task), ("model", spec.model))}
    rest = {"protocol": spec.protocol, "device": spec.device}
    return {**spec.task.settings, **spec.model.settings, **spec.recipe, **parts, **rest}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a setting's value
    return tuple(value) if isinstance(value, list) else value
