"""Names for people: of a method with its settings, and of what a table's runs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from plastibench.settings import show
from plastibench.spec import Part, Spec

SHOWN = ("optimizer", "learning_rate", "batch_size", "target_accuracy", "precision")
"""Settings of the recipe that every title has."""


def method_labels(parts: Sequence[Part]) -> list[str]:
    """Return a name for each method; where one name stands for several settings, what differs is shown."""
    variants: dict[str, list[Mapping[str, Any]]] = {}
    for part in parts:
        known = variants.setdefault(part.name, [])
        if _identity(part) not in known:
            known.append(_identity(part))
    return [_label(part, variants[part.name]) for part in parts]


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


def _flat(spec: Spec) -> dict[str, Any]:
    parts = {f"{what}.code": part.code for what, part in (("task", spec.task), ("model", spec.model))}
    return {**spec.task.settings, **spec.model.settings, **spec.recipe, **parts, "protocol": spec.protocol}


def _plain(value: Any) -> Any:  # noqa: ANN401 - a setting's value
    return tuple(value) if isinstance(value, list) else value
