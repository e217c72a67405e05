"""The whole description of one run: what it is known by, and what it is made from again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError
from plastibench.plugins.fields import Settings, settings_of
from plastibench.plugins.registry import Plugin, Registry, fingerprint

if TYPE_CHECKING:
    from plastibench.plugins.method import Method
    from plastibench.plugins.task import Task


SCHEMA = 1


@dataclass(frozen=True)
class Part:
    """A plug-in with its settings and a digest of its code."""

    name: str
    settings: Mapping[str, Any]
    code: str

    @classmethod
    def of(cls, plugin: Plugin, made: Settings) -> Part:
        """Describe an instance of a plug-in."""
        return cls(plugin.name, settings_of(made), fingerprint(plugin))

    def as_dict(self) -> dict[str, Any]:
        """Return the description as plain values."""
        return {"name": self.name, "settings": dict(self.settings), "code": self.code}


@dataclass(frozen=True)
class Spec:
    """One (task, model, recipe, method, seed) on one kind of device."""

    task: Part
    model: Part
    recipe: Mapping[str, Any]
    method: Part
    seed: int
    device: str
    """Kind of device; which one of its kind, and the host, do not belong to what a run is."""
    protocol: int
    """Version of the code that decides the numbers."""
    sealed: bool = False
    """Whether the run cannot read the test data, and is measured on validation data alone."""

    def as_dict(self) -> dict[str, Any]:
        """Return the description as plain values."""
        plain = {
            "schema": SCHEMA,
            "task": self.task.as_dict(),
            "model": self.model.as_dict(),
            "recipe": dict(self.recipe),
            "method": self.method.as_dict(),
            "seed": self.seed,
            "device": self.device,
            "protocol": self.protocol,
        }
        # Not said of runs that tables are made of: their ids are older.
        return {**plain, "sealed": True} if self.sealed else plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Spec:
        """Read a description that `as_dict` wrote."""
        parts: dict[str, Any] = {name: Part(**plain[name]) for name in ("task", "model", "method")}
        rest = {name: plain[name] for name in ("recipe", "seed", "device", "protocol")}
        return cls(**parts, **rest, sealed=plain.get("sealed", False))

    @cached_property
    def id(self) -> str:
        """Return what a run is known by: 16 hexadecimal digits that depend on the description alone."""
        return hashlib.sha256(canonical(self.as_dict()).encode()).hexdigest()[:16]

    def condition_id(self) -> str:
        """Return what runs have in common that may be compared: all but the method and the seed."""
        return hashlib.sha256(canonical(self._setting()).encode()).hexdigest()[:16]

    def _setting(self) -> dict[str, Any]:
        return {name: value for name, value in self.as_dict().items() if name not in ("method", "seed")}


def canonical(plain: object) -> str:
    """Return JSON that is the same for equal values: sorted keys, no spaces."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def describe(task: Task, method: Method, names: Mapping[str, Plugin], where: tuple[int, str]) -> Spec:
    """Return the description of a run: `names` maps kinds to plug-ins, `where` is (seed, device kind)."""
    from plastibench.training import protocol

    seed, device = where
    return Spec(
        task=Part.of(names["task"], task),
        model=Part.of(names["model"], task.architecture),
        recipe=settings_of(task.recipe),
        method=Part.of(names["method"], method),
        seed=seed,
        device=device,
        protocol=protocol.VERSION,
    )


def build(spec: Spec, registry: Registry) -> tuple[Task, Method]:
    """Return the task and the method that a description names.

    Raises RequestError where their code is not what the description was made from.
    """
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.task import sealed

    _check_code(spec, registry)
    architecture = registry.load("model", spec.model.name)().with_values(spec.model.settings)
    recipe = _made(Recipe, spec.recipe)
    task_settings = {name: _value(value) for name, value in spec.task.settings.items()}
    kind = registry.load("task", spec.task.name)
    task = (sealed(kind) if spec.sealed else kind)(recipe=recipe, architecture=architecture, **task_settings)
    return task, _made(registry.load("method", spec.method.name), spec.method.settings)


def _check_code(spec: Spec, registry: Registry) -> None:
    """A file edited while a grid runs must not give its numbers to the code that was asked for."""
    for kind, part in (("task", spec.task), ("model", spec.model), ("method", spec.method)):
        if fingerprint(registry.get(kind, part.name)) != part.code:
            raise RequestError(
                f"the code of {kind} {part.name} has changed since this run was asked for: ask for it again"
            )


def _made(kind: type, values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever `kind` makes
    return kind(**{name: _value(value) for name, value in values.items()})


def _value(value: Any) -> Any:  # noqa: ANN401 - a setting's value
    return tuple(value) if isinstance(value, list) else value


def name_of(spec: Spec) -> str:
    """Return a short name of a run for people."""
    return f"{spec.task.name} {spec.model.name} {spec.method.name} seed {spec.seed}"
