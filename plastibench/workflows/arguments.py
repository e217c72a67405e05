"""Arguments of the Python API, and the requests that are made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from plastibench.errors import RequestError, did_you_mean
from plastibench.experiments.seeds import parse_seeds
from plastibench.experiments.shard import Shard
from plastibench.plugins.from_class import plugin_of
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.values import show
from plastibench.runner.workspace import Workspace
from plastibench.workflows.request import RunOptions, Selection

Names = str | Iterable[str]
Plugins = str | type | Iterable[str | type]
"""Names of plug-ins, classes of plug-ins, or both."""
Seeds = int | str | Iterable[int]
Folder = str | PathLike[str]


class WorkspaceArguments(TypedDict, total=False):
    """Keyword arguments that name folders and files; `run` describes them."""

    home: Folder | None
    data: Folder | None
    plugins: Iterable[Folder]


class SelectionArguments(WorkspaceArguments, total=False):
    """Keyword arguments that name runs; `run` describes them."""

    task: Plugins | None
    methods: Plugins | None
    model: Plugins | None
    recipe: str | None
    probes: Plugins | None
    seeds: Seeds | None
    settings: Mapping[str, object] | None
    device: str | None


class FinishedArguments(SelectionArguments, total=False):
    """Keyword arguments that name finished runs, which are only read; `table` describes them."""

    records: Folder | Iterable[Folder]


class ExecutionArguments(WorkspaceArguments, total=False):
    """Keyword arguments that say how runs are executed; `run` describes them."""

    jobs: int | None
    devices: int
    threads: int | None
    executor: str
    address: str | None
    device_share: float | None
    checkpoint_interval: float
    checkpoint_storage: str | None
    deterministic: bool
    compile: bool
    retries: int
    run_timeout: float | None
    shard: str | None
    costs: Folder | None
    estimate: bool
    mlflow: bool
    tracking_uri: str | None


class RunArguments(SelectionArguments, ExecutionArguments):
    """Keyword arguments of `run`."""


def workspace(arguments: WorkspaceArguments, allowed: type) -> Workspace:
    """Return the folders and plug-in files. Raises TypeError for a name that is not `allowed`."""
    for name in arguments:
        if name not in allowed.__annotations__:
            names = ", ".join(allowed.__annotations__)
            hint = did_you_mean(name, allowed.__annotations__)
            raise TypeError(f"unexpected keyword argument {name!r}{hint} (there are: {names})")
    folders = {"home": arguments.get("home"), "data": arguments.get("data")}
    named: dict[str, Any] = {name: Path(folder) for name, folder in folders.items() if folder is not None}
    return Workspace(**named, plugins=_paths(arguments.get("plugins", ())))


def selection(
    suite: Folder | None,
    arguments: SelectionArguments,
    allowed: type = SelectionArguments,
    *,
    tuned: bool = False,
) -> Selection:
    """Return the runs of a suite or of a grid. Raises TypeError for a name that is not `allowed`."""
    classes = Classes(workspace(arguments, allowed))
    return Selection(
        suite=None if suite is None else str(suite),
        tasks=classes.names("task", arguments.get("task")),
        methods=classes.names("method", arguments.get("methods")),
        models=classes.names("model", arguments.get("model")),
        seeds=_seeds(arguments.get("seeds")),
        probes=classes.names("probe", arguments.get("probes")),
        settings={name: classes.setting(value) for name, value in (arguments.get("settings") or {}).items()},
        recipe=arguments.get("recipe"),
        device=arguments.get("device"),
        tuned=tuned,
        workspace=classes.workspace,
    )


def finished_selection(suite: Folder | None, arguments: FinishedArguments) -> Selection:
    """Return the finished runs of a suite or of a grid. Raises TypeError for a name that is not allowed."""
    records = arguments.pop("records", ())
    return replace(selection(suite, arguments), records=_paths(records))


class Classes:
    """Finds the names of plug-ins that are given as classes, and adds their sources to a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._found: dict[type, Plugin] = {}

    def names(self, kind: str, values: Plugins | None) -> tuple[str, ...] | None:
        """Return the names of plug-ins. Raises RequestError for what is neither a name nor a class."""
        if values is None:
            return None
        several = (values,) if isinstance(values, str | type) else values
        if not isinstance(several, Iterable):
            several = (several,)
        return tuple(self._name(kind, value) for value in several)

    def setting(self, value: object) -> str:
        """Return the value of a setting as text; a class stands for the name of a regime."""
        if isinstance(value, type):
            return self._name("regime", value)
        return show(tuple(value) if isinstance(value, list) else value)

    def _name(self, kind: str, value: object) -> str:
        if isinstance(value, str):
            return value
        if not isinstance(value, type):
            cls = type(value).__name__
            hint = f": give the class, {cls}, and its settings by settings={{NAME.SETTING: VALUE}}"
            is_instance = hasattr(value, "__dataclass_fields__")
            raise RequestError(f"{kind} {value!r} is neither a name nor a class{hint if is_instance else ''}")
        if value not in self._found:
            registry = self.workspace.registry
            plugin = self._found[value] = plugin_of(kind, value, registry)
            if registry.defining(kind, value) is not plugin:
                self.workspace = replace(self.workspace, plugins=(*registry.own, plugin))
        return self._found[value].name


def options(arguments: ExecutionArguments) -> RunOptions:
    """Return the options: on the command line every core is used and MLflow is written by default.

    Raises RequestError for an executor that does not exist.
    """
    names = {field.name for field in fields(RunOptions)}
    named: dict[str, Any] = {name: value for name, value in arguments.items() if name in names}
    if named.get("shard") is not None:
        named["shard"] = Shard.parse(named["shard"])
    if named.get("costs") is not None:
        named["costs"] = Path(named["costs"])
    made = RunOptions(**{"mlflow": False, **named})
    return made if "jobs" in named or made.choice.is_remote else replace(made, jobs=1)


def as_names(names: Names | None) -> tuple[str, ...] | None:
    """Return names as a tuple; a text is one name."""
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def _paths(paths: Folder | Iterable[Folder]) -> tuple[Path, ...]:
    return tuple(map(Path, (paths,) if isinstance(paths, str | PathLike) else paths))


def _seeds(seeds: Seeds | None) -> tuple[int, ...] | None:
    if seeds is None:
        return None
    # A list of one is that seed, not a number of seeds.
    return parse_seeds(str(seeds) if isinstance(seeds, int | str) else ",".join(f"{n}-{n}" for n in seeds))
