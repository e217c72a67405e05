"""The description of one run: its id is a digest of it, and the run can be made again from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from plastibench.plugins.fields import Settings, settings_of
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import from_json

if TYPE_CHECKING:
    from plastibench.plugins.method import Method
    from plastibench.plugins.probe import Probe
    from plastibench.plugins.task import Task

SCHEMA = 1


@dataclass(frozen=True)
class Part:
    """A plug-in with its settings and a digest of its code."""

    name: str
    settings: Mapping[str, Any]
    code: str

    @classmethod
    def of(cls, plugin: Plugin, instance: Settings) -> Part:
        """Describe an instance of a plug-in."""
        return cls(plugin.name, settings_of(instance), plugin.digest())

    def as_dict(self) -> dict[str, Any]:
        """Return the description as plain values."""
        return {"name": self.name, "settings": dict(self.settings), "code": self.code}


@dataclass(frozen=True)
class Spec:
    """One (task, regime, model, recipe, method, seed) on one kind of device."""

    task: Part
    model: Part
    recipe: Mapping[str, Any]
    method: Part
    seed: int
    device: str
    """Kind of device; the host, and which device of its kind, are no part of what a run is."""
    protocol: int
    """Version of the code that decides the numbers."""
    regime: Part | None = None
    """None if the task has no regime, or in older descriptions, which have it among the task's settings."""
    base_regimes: tuple[Part, ...] = ()
    """The regimes that `regime` lies over, outermost first."""
    shifts_targets: bool = False
    """Whether what is to be learned changes between stages; the regimes declare it."""
    held_out_test: bool = False
    """Whether the run cannot read the test data and is measured on validation data alone, as in a tuning."""
    probes: tuple[Part, ...] = ()
    """Probes that measure the run; they change no other number."""

    @property
    def parts(self) -> list[tuple[str, Part]]:
        """Return the plug-ins that decide the numbers, with their kinds."""
        kinds = [("task", self.task), *(("regime", part) for part in self.regimes)]
        return [*kinds, ("model", self.model), ("method", self.method)]

    @property
    def regimes(self) -> tuple[Part, ...]:
        """Return the regime and those that it lies over, outermost first."""
        return () if self.regime is None else (self.regime, *self.base_regimes)

    def all_parts(self) -> list[tuple[str, Part]]:
        """Return all plug-ins with their kinds, probes among them."""
        return [*self.parts, *(("probe", probe) for probe in self.probes)]

    @property
    def task_settings(self) -> dict[str, Any]:
        """Return the settings of the task, with the regime's name and settings among them."""
        settings = dict(self.task.settings)
        if self.regime is not None:
            settings["regime"] = "+".join(part.name for part in self.regimes)
            for part in reversed(self.regimes):
                settings |= part.settings
        elif settings.get("buffer", 0) is None:
            del settings["buffer"]  # of an older description, whose regime is not `buffer`
        return dict(sorted(settings.items()))

    def as_dict(self) -> dict[str, Any]:
        """Return the description as plain values."""
        plain = {
            "schema": SCHEMA,
            **{kind: part.as_dict() for kind, part in replace(self, base_regimes=()).parts},
            "recipe": dict(self.recipe),
            "seed": self.seed,
            "device": self.device,
            "protocol": self.protocol,
        }
        # Older runs keep their ids: what they do not have is left out, and one key has its first name.
        sealed = {"sealed": True} if self.held_out_test else {}
        probes = {"probes": [probe.as_dict() for probe in self.probes]} if self.probes else {}
        bases = {"base_regimes": [part.as_dict() for part in self.base_regimes]} if self.base_regimes else {}
        shifts = {"shifts_targets": True} if self.shifts_targets else {}
        return {**plain, **sealed, **probes, **bases, **shifts}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Spec:
        """Read a description that `as_dict` wrote."""
        parts: dict[str, Any] = {
            kind: Part(**plain[kind]) for kind in ("task", "regime", "model", "method") if kind in plain
        }
        rest = {name: plain[name] for name in ("recipe", "seed", "device", "protocol")}
        lists: dict[str, Any] = {
            name: tuple(Part(**part) for part in plain.get(name, ())) for name in ("probes", "base_regimes")
        }
        held_out, shifts = (plain.get(name, False) for name in ("sealed", "shifts_targets"))
        return cls(**parts, **rest, **lists, held_out_test=held_out, shifts_targets=shifts)

    @cached_property
    def id(self) -> str:
        """Return the id of the run: 16 hexadecimal digits that depend on the description alone."""
        return digest(self.as_dict())

    @cached_property
    def condition_id(self) -> str:
        """Return a digest of all but method, seed and probes: runs that share it may be compared."""
        plain = self.as_dict()
        return digest({k: value for k, value in plain.items() if k not in ("method", "seed", "probes")})

    @cached_property
    def variant_id(self) -> str:
        """Return a digest of all but seed and probes: the runs of a method under one setting share it."""
        return digest(replace(self.without_probes(), seed=0).as_dict())

    def without_probes(self) -> Spec:
        """Return the description of the run without its probes: its results are the same."""
        return replace(self, probes=()) if self.probes else self

    @property
    def name(self) -> str:
        """Return a short name of the run, for messages."""
        return f"{self.task.name} {self.model.name} {self.method.name} seed {self.seed}"


def by_condition(specs: Iterable[Spec]) -> dict[str, Spec]:
    """Return one run of each condition."""
    return {spec.condition_id: spec for spec in specs}


def canonical(plain: object) -> str:
    """Return JSON that is the same for equal values: sorted keys, no spaces."""
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(plain: object) -> str:
    """Return 16 hexadecimal digits that are the same for equal values."""
    return hashlib.sha256(canonical(plain).encode()).hexdigest()[:16]


def build(spec: Spec, registry: Registry) -> tuple[Task, Method]:
    """Return the task and the method that a description names.

    Raises RequestError if their code has changed since the description was made.
    """
    from plastibench.plugins.recipe import Recipe

    nested, base = {"architecture": _build("model", spec.model, registry)}, dict[str, Any]()
    for part in reversed(spec.regimes):
        base = {"base": _build("regime", part, registry, **base)}
    if base:
        nested["regime"] = base["base"]
    method = _build("method", spec.method, registry)
    nested["recipe"] = Recipe(**from_json(spec.recipe))
    return _build("task", spec.task, registry, **nested), method


def build_probes(spec: Spec, registry: Registry) -> dict[str, Probe]:
    """Return the probes that a description names. Raises RequestError as `build` does."""
    return {probe.name: _build("probe", probe, registry) for probe in spec.probes}


def own_plugins(spec: Spec, registry: Registry) -> list[Plugin]:
    """Return the plug-ins that a description names and that are not shipped. Raises RequestError."""
    plugins = [registry.version(kind, part.name, part.code) for kind, part in spec.all_parts()]
    return [plugin for plugin in plugins if plugin.own_source() is not None]


def _build(kind: str, part: Part, registry: Registry, **nested: Settings) -> Any:  # noqa: ANN401 - a plug-in's class
    # A file that is edited while a grid runs must not give its numbers to the code that was asked for.
    cls = registry.version(kind, part.name, part.code).load()
    return cls(**from_json(part.settings), **nested)
