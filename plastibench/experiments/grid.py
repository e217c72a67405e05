"""From names and settings as a user writes them to the descriptions of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from plastibench.errors import RequestError, unknown
from plastibench.experiments.grid_names import check_names
from plastibench.experiments.grid_plan import GridPlan, Refusal
from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.fields import Settings, setting_names, settings_of
from plastibench.plugins.plugin import plugin_errors

if TYPE_CHECKING:
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.regime import Regime
    from plastibench.plugins.registry import Registry
    from plastibench.plugins.task import Task

SettingsT = TypeVar("SettingsT", bound=Settings)
Texts = Mapping[str, str]
"""Settings by name, values as text."""


class _Condition(NamedTuple):
    """A task with its regime, model and recipe, and their descriptions, which all methods and seeds share."""

    task: Task
    parts: Mapping[str, Any]


@dataclass(frozen=True)
class Grid:
    """All combinations of tasks, models, methods and seeds, and the settings that apply to them."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    """Each `name` or `name:preset`."""
    models: tuple[str, ...] = ()
    """If empty, each task's default."""
    recipe: str | None = None
    """If None, each task's first."""
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    settings: Texts = field(default_factory=dict)
    """By name, or by `plug-in.name` for one plug-in alone."""
    probes: tuple[str, ...] = ()
    tuned: Mapping[str, Any] | None = None
    """The fields of `TunedSettings` if a tuning chose the settings."""

    def __post_init__(self) -> None:
        """Raise RequestError for duplicates and for what is empty."""
        for option in ("tasks", "methods", "models", "seeds", "probes"):
            values = getattr(self, option)
            duplicates = [str(value) for value in dict.fromkeys(values) if values.count(value) > 1]
            if duplicates:
                raise RequestError(f"duplicate {option}: {', '.join(duplicates)} is given more than once")
            if not values and option not in ("models", "probes"):
                raise RequestError(f"no {option} given: at least one is needed")

    def specs(self, registry: Registry) -> list[Spec]:
        """Return the runs of `plan`."""
        return self.plan(registry).specs

    def plan(self, registry: Registry) -> GridPlan:
        """Return the runs, seed by seed, so that an interrupted grid has complete comparisons.

        Runs that differ in the seed alone share their parts. Raises RequestError for an unknown name or
        setting, a value that is not allowed, or a task and model on which no method can run.
        """
        from plastibench.training import protocol

        self._check_prefixes(registry)
        same = {"seed": self.seeds[0], "device": self.device.partition(":")[0], "protocol": protocol.VERSION}
        same["probes"] = tuple(self._probe(registry, name) for name in self.probes)
        templates: list[Spec] = []
        refused: list[Refusal] = []
        for condition in self._conditions(registry):
            found = [
                (Spec(**condition.parts, method=method, **same), reason)  # type: ignore[arg-type]
                for method, reason in self._methods(registry, condition.task)
            ]
            refusals = [Refusal(spec, reason) for spec, reason in found if reason is not None]
            if len(refusals) == len(found):
                raise RequestError(str(refusals[0]))
            refused += refusals
            templates += [spec for spec, reason in found if reason is None]
        return GridPlan([replace(spec, seed=seed) for seed in self.seeds for spec in templates], refused)

    def _conditions(self, registry: Registry) -> Iterator[_Condition]:
        for name in self.tasks:
            for model in self._models(registry.load("task", name)):
                yield self._condition(registry, name, model)

    def _condition(self, registry: Registry, name: str, model: str) -> _Condition:
        cls, texts = registry.load("task", name), self._texts((name, model))
        architecture = _with_known(registry.load("model", model)(), texts)
        with plugin_errors(f"task {name}"):
            recipe = _with_known(self._recipe(name, cls.recipes(architecture)), texts)
            regime = self._regime(registry, cls, texts)
            nested = {} if regime is None else {"regime": regime}
            known = _known(cls, texts)
            task: Task = cls.parse(known, recipe=recipe, architecture=architecture, **nested)
        methods = dict.fromkeys(text.partition(":")[0] for text in self.methods)
        check_names(texts, task, f"{name} with {model}", registry, {"method": methods, "probe": self.probes})
        parts = {
            "task": Part.of(registry.get("task", name), task),
            **_regime_parts(registry, regime),
            "model": Part.of(registry.get("model", model), architecture),
            "recipe": settings_of(recipe),
        }
        return _Condition(task, parts)

    def _regime(self, registry: Registry, task: type[Task], texts: Texts) -> Regime | None:
        """Return the regime that is named or the task's default; None if the task has no regime."""
        default = _default_regime(task)
        if default is None or "regime" not in texts:
            return None if default is None else self._usual(registry, default, texts)
        regime = None
        for name in reversed(texts["regime"].split("+")):
            regime = self._over(registry, name, regime)
        return regime

    def _over(self, registry: Registry, name: str, base: Regime | None) -> Regime:
        """Return the regime of a name over another one, by default its usual base."""
        from plastibench.plugins.regime import Overlay

        cls, own = registry.load("regime", name), self._texts((name,))
        nested = {}
        if issubclass(cls, Overlay):
            nested["base"] = base or self._usual(registry, cls.usual_base(), self._texts(()))
        elif base is not None:
            raise RequestError(
                f"regime={name}+... is not allowed: {name} lies over no other regime, so it must be the last"
            )
        regime: Regime = cls.parse({n: own[n] for n in setting_names(cls) if n in own}, **nested)
        return regime

    def _usual(self, registry: Registry, regime: Regime, texts: Texts) -> Regime:
        """Return a regime that nobody named, with the settings that are given for it and for its bases."""
        own = {**texts, **self._own(registry.find("regime", regime).name)}
        bases = regime.chain()[1:]
        nested = {"base": self._usual(registry, bases[0], texts)} if bases else {}
        return regime.from_strings(_known(type(regime), own), **nested)

    def _models(self, task: type[Task]) -> tuple[str, ...]:
        if not task.uses_architecture() and set(self.models) - {task.default_architecture}:
            raise RequestError(
                f"model={','.join(self.models)} means nothing for {task.__name__}, which builds a model of "
                "its own: leave it out"
            )
        return self.models or (task.default_architecture,)

    def _recipe(self, task: str, recipes: Mapping[str, Recipe]) -> Recipe:
        name = next(iter(recipes)) if self.recipe is None else self.recipe
        if name not in recipes:
            raise unknown(f"recipe of {task}", name, recipes)
        return recipes[name]

    def _methods(self, registry: Registry, task: Task) -> Iterator[tuple[Part, str | None]]:
        """Yield the methods, each with why it cannot run on the task and its model, or None."""
        from plastibench.plugins.layers import unsupported_weights
        from plastibench.plugins.recipe_changes import trained_task

        for text in self.methods:
            name, colon, preset = text.partition(":")
            cls = registry.load("method", name)
            if colon and preset not in cls.presets:
                raise unknown(f"preset of {name}", preset, cls.presets)
            with plugin_errors(f"method {name}"):
                method = cls(**cls.presets.get(preset, {})).from_strings(self._own(name))
                own = trained_task(task, method)
                reason = method.unsupported(task) or unsupported_weights(method, partial(method.build, own))
            yield Part.of(registry.get("method", name), method), reason

    def _probe(self, registry: Registry, name: str) -> Part:
        plugin = registry.get("probe", name)
        return Part.of(plugin, plugin.load().parse(self._own(name)))

    def _own(self, prefix: str) -> dict[str, str]:
        """Return the settings with a prefix."""
        parts = ((*full.partition("."), text) for full, text in self.settings.items())
        return {name: text for first, dot, name, text in parts if dot and first == prefix}

    def _texts(self, prefixes: tuple[str, ...]) -> dict[str, str]:
        """Return the settings without prefix, and those with one of `prefixes`, which take precedence."""
        texts = {full: text for full, text in self.settings.items() if "." not in full}
        for prefix in prefixes:
            texts |= self._own(prefix)
        return texts

    def _check_prefixes(self, registry: Registry) -> None:
        """Raise RequestError for a setting of a plug-in that is not in the grid."""
        methods = {text.partition(":")[0] for text in self.methods}
        models = {model for task in self.tasks for model in self._models(registry.load("task", task))}
        named = [text for full, text in self.settings.items() if full.split(".")[-1] == "regime"]
        regimes = {name for text in named for name in text.split("+")}
        for full in self.settings:
            prefix, dot, _ = full.partition(".")
            if dot and prefix not in (names := {*self.tasks, *methods, *models, *regimes, *self.probes}):
                raise unknown("task, regime, model, method or probe of this grid", prefix, names)


def _default_regime(task: type[Task]) -> Regime | None:
    """Return the regime of a task if none is named, or None if it has no regime."""
    found: Any = next((each for each in fields(task) if each.name == "regime"), None)
    if found is None:
        return None
    if found.default_factory is not MISSING:
        return found.default_factory()  # type: ignore[no-any-return]
    return found.default  # type: ignore[no-any-return]


def _regime_parts(registry: Registry, regime: Regime | None) -> dict[str, Any]:
    """Return the fields of a description that say which regime a task has."""
    chain = () if regime is None else regime.chain()
    parts = [Part.of(registry.find("regime", each), each) for each in chain]
    shifts = any(type(each).shifts_targets for each in chain)
    return {"regime": next(iter(parts), None), "base_regimes": tuple(parts[1:]), "shifts_targets": shifts}


def _known(cls: type[Settings], texts: Texts) -> dict[str, str]:
    """Return the texts of those settings that a class has."""
    return {name: texts[name] for name in setting_names(cls) if name in texts}


def _with_known(instance: SettingsT, texts: Texts) -> SettingsT:
    return instance.from_strings(_known(type(instance), texts))
