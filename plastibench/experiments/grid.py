"""From names and settings as a user writes them to the descriptions of runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from plastibench.errors import RequestError, unknown
from plastibench.experiments.spec import Spec, describe
from plastibench.plugins.fields import Settings, defaults, settings_of
from plastibench.plugins.registry import Plugin, Registry, plugin_errors

if TYPE_CHECKING:
    from plastibench.plugins.method import Method
    from plastibench.plugins.recipe import Recipe
    from plastibench.plugins.task import Task

Made = TypeVar("Made", bound=Settings)
Plugins = dict[str, Plugin]

MOST_SEEDS = 10_000
"""More are taken for a slip of the keyboard."""

FIRST_TUNING_SEED = 1_000_000_000
"""This seed and those above it are for tuning: no number that is reported is chosen by its own luck."""


@dataclass(frozen=True)
class Grid:
    """Names to be multiplied out, and settings that apply to all of them."""

    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    """Each `name` or `name:preset`."""
    models: tuple[str, ...] = ()
    """None is each task's own default."""
    recipe: str | None = None
    """None is each task's first."""
    seeds: tuple[int, ...] = (0, 1, 2)
    device: str = "cpu"
    settings: Mapping[str, str] = field(default_factory=dict)
    """By name, or by `plug-in.name` for one plug-in alone; values as text."""
    tuned: Mapping[str, Any] | None = None
    """Where the settings come from, if a tuning chose them: the fields of `tuned.Tuned`."""

    def __post_init__(self) -> None:
        """Refuse what is named twice."""
        for what in ("tasks", "methods", "models", "seeds"):
            given = getattr(self, what)
            twice = [str(item) for item in dict.fromkeys(given) if given.count(item) > 1]
            if twice:
                raise RequestError(f"duplicate {what}: {', '.join(twice)} is given more than once")
            if not given and what != "models":
                raise RequestError(f"no {what} given: at least one is needed")

    def specs(self, registry: Registry) -> list[Spec]:
        """Return the runs, seed by seed, so that an interrupted grid has whole comparisons.

        Raises RequestError for an unknown name or setting, a value that is not allowed, or a
        method that cannot run on a task.
        """
        self._check_prefixes(registry)
        made = [
            (task, method, plugins)
            for task, task_plugins in self._tasks(registry)
            for method, plugins in self._methods(registry, task, task_plugins)
        ]
        kind = self.device.partition(":")[0]
        return [
            describe(task, method, names, (seed, kind)) for seed in self.seeds for task, method, names in made
        ]

    def _tasks(self, registry: Registry) -> Iterator[tuple[Task, Plugins]]:
        for name in self.tasks:
            plugin = registry.get("task", name)
            kind = plugin.load()
            for model in self._models(kind):
                model_plugin = registry.get("model", model)
                plain = model_plugin.load()()
                texts = self._texts((name, model))
                architecture = _changed(plain, texts)
                with plugin_errors(f"task {name}"):
                    recipe = _changed(self._recipe(name, kind.recipes(architecture)), texts)
                    task = _changed(kind(recipe=recipe, architecture=architecture), texts)
                known = {setting for part in (task, recipe, plain) for setting in settings_of(part)}
                for setting in texts:
                    if setting not in known:
                        self._refuse_for_method(registry, setting)
                        raise unknown(f"setting of {name} with {model}", setting, known)
                yield task, {"task": plugin, "model": model_plugin}

    def _refuse_for_method(self, registry: Registry, setting: str) -> None:
        """Raise RequestError where a setting lacks nothing but the name of its method."""
        methods = dict.fromkeys(text.partition(":")[0] for text in self.methods)
        owners = [name for name in methods if setting in defaults(registry.load("method", name))]
        if owners:
            full = " or ".join(f"{name}.{setting}" for name in owners)
            raise RequestError(f"no setting of the task, recipe or model named {setting!r}: write {full}")

    def _models(self, kind: type[Task]) -> tuple[str, ...]:
        return self.models or (kind.default_architecture,)

    def _recipe(self, task: str, recipes: Mapping[str, Recipe]) -> Recipe:
        name = next(iter(recipes)) if self.recipe is None else self.recipe
        if name not in recipes:
            raise unknown(f"recipe of {task}", name, recipes)
        return recipes[name]

    def _methods(self, registry: Registry, task: Task, plugins: Plugins) -> Iterator[tuple[Method, Plugins]]:
        for text in self.methods:
            name, colon, preset = text.partition(":")
            plugin = registry.get("method", name)
            kind = plugin.load()
            if colon and preset not in kind.presets:
                raise unknown(f"preset of {name}", preset, kind.presets)
            own = {k.partition(".")[2]: v for k, v in self.settings.items() if k.startswith(f"{name}.")}
            with plugin_errors(f"method {name}"):
                method = kind(**kind.presets.get(preset, {})).from_strings(own)
                reason = method.unsupported(task)
            if reason is not None:
                raise RequestError(f"method {name} cannot run on this task and model: {reason}")
            yield method, {**plugins, "method": plugin}

    def _texts(self, prefixes: tuple[str, str]) -> dict[str, str]:
        """Return the settings without prefix and those with one of `prefixes`, which win."""
        general = {full: text for full, text in self.settings.items() if "." not in full}
        for full, text in self.settings.items():
            prefix, _, short = full.partition(".")
            if short and prefix in prefixes:
                general[short] = text
        return general

    def _check_prefixes(self, registry: Registry) -> None:
        """Refuse a setting for a plug-in that is not in the grid."""
        methods = {text.partition(":")[0] for text in self.methods}
        models = {model for task in self.tasks for model in self._models(registry.load("task", task))}
        for full in self.settings:
            prefix, dot, _ = full.partition(".")
            if dot and prefix not in {*self.tasks, *methods, *models}:
                raise unknown("task, model or method of this grid", prefix, {*self.tasks, *methods, *models})


def _changed(thing: Made, texts: Mapping[str, str]) -> Made:
    """Return `thing` with those of the settings that it has."""
    own = settings_of(thing)
    return thing.from_strings({name: text for name, text in texts.items() if name in own})


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of "5" (the first five), "3,5,7" or "10-14"."""
    allowed = f"give a count (5), a list (3,5,7) or a range (10-14), at most {MOST_SEEDS:,}"
    try:
        count = text.strip().isdecimal()
        ranges = [range(int(text))] if count else [_span(part) for part in text.split(",") if part.strip()]
    except ValueError:
        ranges = []
    # Not len(): a range can be longer than a length can be.
    sizes = [span.stop - span.start for span in ranges]
    if not ranges or min(sizes) < 1 or sum(sizes) > MOST_SEEDS:
        raise RequestError(f"seeds={text} is not allowed: {allowed}")
    if max(span.stop for span in ranges) > FIRST_TUNING_SEED:
        raise RequestError(
            f"seeds={text} is not allowed: {FIRST_TUNING_SEED:,} and above are kept for tuning, so that "
            "reported runs and those that chose their settings share none"
        )
    return tuple(seed for span in ranges for seed in span)


def _span(text: str) -> range:
    low, dash, high = text.partition("-")
    return range(int(low), int(high if dash else low) + 1)
