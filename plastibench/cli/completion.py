"""What can be typed next, for a shell that completes words. Plug-ins are read, not imported: it is fast."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from plastibench.store.run_store import DEFAULT_HOME

if TYPE_CHECKING:
    from plastibench.plugins.plugin import Plugin
    from plastibench.plugins.read_settings import Declared

Items = list[CompletionItem[str]]
Complete = Callable[[click.Context, click.Parameter, str], Items]
DEVICE_NAMES = "cpu, cuda, cuda:N or hpu"
"""What `--device` takes, for the help: `plastibench.devices`, which knows them, imports torch."""
KINDS = ("task", "model", "method", "regime", "probe")
RECIPE = "plastibench.plugins.recipe:Recipe"
VARIABLE = "_PLASTIBENCH_COMPLETE"
"""Set by the scripts of `plastibench completion`, for click to answer instead of running a command."""
MAX_DESCRIBED = 50
"""Most words that are described: files are read for it."""


class Plugins:
    """The plug-ins that can be named: those shipped and installed, and the files of --plugin."""

    def __init__(self, ctx: click.Context) -> None:
        from plastibench.plugins.registry import Registry

        self.registry = Registry()
        self.files = {path.stem: path for path in ctx.params.get("plugins") or () if path.is_file()}

    def names(self, *kinds: str) -> dict[str, Plugin | None]:
        """Return the plug-ins of some kinds by name; None is a file of --plugin."""
        registry = self.registry
        found = {name: registry.get(kind, name) for kind in kinds for name in registry.names(kind)}
        own = [name for name in self.files for kind in kinds if self.declared(kind, name) is not None]
        return found | dict.fromkeys(own)

    def declared(self, kind: str, name: str) -> Declared | None:
        """Return what a plug-in declares, or None if there is no such plug-in or it cannot be read."""
        from plastibench.plugins.code_hash import parse
        from plastibench.plugins.plugin import KINDS as CONTRACTS
        from plastibench.plugins.read_settings import read_settings

        with suppress(OSError, SyntaxError, ValueError):
            tree = parse(self.files[name]) if name in self.files else self.registry.get(kind, name).tree()
            return read_settings(tree, CONTRACTS[kind].contract)
        return None

    def settings(self, kinds: Iterable[str], names: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Return the settings of plug-ins, with their values if these can be listed."""
        found = [self.declared(kind, name) for name in names for kind in kinds]
        return {name: values for one in found if one is not None for name, values in one.settings.items()}


def names_of(*kinds: str, also: Iterable[str] = (), several: bool = True, files: bool = False) -> Complete:
    """Return what completes the names of plug-ins, by default several separated by commas.

    After METHOD: come the method's presets. With `files` the names of files are offered, too.
    """

    def complete(ctx: click.Context, _: click.Parameter, text: str) -> Items:
        plugins = Plugins(ctx)
        before, comma, last = text.rpartition(",") if several else ("", "", text)
        method, colon, _preset = last.partition(":")
        if colon and "method" in kinds:
            declared = plugins.declared("method", method)
            found = dict.fromkeys(f"{method}:{name}" for name in declared.presets) if declared else {}
        else:
            found = plugins.names(*kinds) | dict.fromkeys(also)
        left = {name: plugin for name, plugin in found.items() if name not in before.split(",")}
        items = _items(left, last, before + comma)
        return items or ([CompletionItem(text, type="file")] if files else [])

    return complete


def one_of(*values: str) -> Complete:
    """Return what completes one of a few words."""
    return lambda _, __, text: _items(dict.fromkeys(values), text)


devices = one_of("cpu", "cuda", "hpu")
"""Completes a device."""


def suites(_: click.Context, __: click.Parameter, text: str) -> Items:
    """Complete the name of a suite, or the path of a file or a folder."""
    from plastibench.experiments import suites

    return _items(dict.fromkeys(suites.names()), text) or [CompletionItem(text, type="file")]


def list_topics(ctx: click.Context, _: click.Parameter, text: str) -> Items:
    """Complete what `plastibench list` can be asked for."""
    from plastibench.experiments import suites

    kinds = dict.fromkeys([*(f"{kind}s" for kind in KINDS), "suites", "recipes", *suites.names()])
    return _items({**kinds, **Plugins(ctx).names(*KINDS)}, text)


def run_ids(ctx: click.Context, _: click.Parameter, text: str) -> Items:
    """Complete the id of a run in the home folder."""
    home = Path(ctx.params.get("home") or DEFAULT_HOME)
    folders = home.glob(f"runs/{text[:2]}{'*' * (len(text) < 2)}/*")
    found = sorted(folder for folder in folders if folder.name.startswith(text))
    return _items({folder.name: folder for folder in found}, text)


def columns(_: click.Context, __: click.Parameter, text: str) -> Items:
    """Complete the columns of a table, separated by commas."""
    from plastibench.analysis.tables.columns import COLUMNS

    before, comma, last = text.rpartition(",")
    left = [name for name in COLUMNS if name not in before.split(",")]
    return _items(dict.fromkeys(left), last, before + comma)


def settings(ctx: click.Context, _: click.Parameter, text: str) -> Items:
    """Complete NAME=VALUE: the settings of what is named, those of a plug-in after its name, their values."""
    from plastibench.experiments import suites
    from plastibench.plugins.read_settings import read_class

    plugins, usual = Plugins(ctx), suites.load(suites.defaults().suite).grids[0]
    owner, dot, _name = text.partition("=")[0].partition(".")
    if dot:
        own = plugins.settings(KINDS, [owner])
        return _assignments({f"{owner}.{name}": values for name, values in own.items()}, text)
    tasks = ctx.params.get("tasks") or usual.tasks
    methods = dict.fromkeys(name.partition(":")[0] for name in ctx.params.get("methods") or usual.methods)
    declared = [plugins.declared("task", task) for task in tasks]
    models = [one.constants.get("default_architecture", "") for one in declared if one is not None]
    regimes = plugins.registry.names("regime")
    known = plugins.settings(["task"], tasks) | dict(read_class(RECIPE).settings)
    known |= plugins.settings(["model"], ctx.params.get("models") or models)
    known |= plugins.settings(["regime"], regimes) | {"regime": tuple(regimes)}
    return _assignments(known, text) + _items(dict.fromkeys(f"{name}." for name in methods), text)


def setting_meant(ctx: click.Context, option: str) -> str | None:
    """Return the setting that has the name of an option which a command lacks, if the command has --set."""
    param = next((each for each in ctx.command.params if "--set" in each.opts), None)
    name = option.lstrip("-").replace("-", "_")
    known = [] if param is None else [item.value for item in settings(ctx, param, name)]
    return name if f"{name}=" in known else None


def settings_of_class(cls: str) -> Complete:
    """Return what completes NAME=VALUE for the settings of one class, given as `module:class`."""

    def complete(_: click.Context, __: click.Parameter, text: str) -> Items:
        from plastibench.plugins.read_settings import read_class

        return _assignments(read_class(cls).settings, text)

    return complete


def _assignments(known: Mapping[str, tuple[str, ...]], text: str) -> Items:
    name, equals, value = text.partition("=")
    if equals:
        return _items(dict.fromkeys(known.get(name, ())), value, f"{name}=")
    return _items(dict.fromkeys(f"{name}=" for name in known), text)


def _items(found: Mapping[str, Plugin | Path | None], text: str, before: str = "") -> Items:
    """Return what begins with a text, behind what stands before it, described if the shell shows that."""
    names = [name for name in found if name.startswith(text)]
    shown = len(names) <= MAX_DESCRIBED and not os.environ.get(VARIABLE, "").startswith("bash")
    return [
        CompletionItem(before + name, help=_description(found[name]) if shown else None) for name in names
    ]


def _description(what: Plugin | Path | None) -> str | None:
    """Return the summary of a plug-in, or what the run in a folder is of."""
    if what is None:
        return None
    return (_run_name(what) if isinstance(what, Path) else what.summary()) or None


def _run_name(folder: Path) -> str:
    """Return what a run is of, or nothing if its description cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        spec: Any = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        names = [spec[part]["name"] for part in ("task", "model", "method")]
        return " ".join([*names, f"seed {spec['seed']}"])
    return ""
