"""Arguments of the Python API, and the requests that are made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, TypedDict

from plastibench.experiments.seeds import parse_seeds
from plastibench.experiments.shard import Shard
from plastibench.plugins.values import show
from plastibench.runner.workspace import Workspace
from plastibench.workflows.request import RunOptions, Selection

Names = str | Iterable[str]
Seeds = int | str | Iterable[int]
Folder = str | PathLike[str]


class WorkspaceArguments(TypedDict, total=False):
    """Keyword arguments that name folders and files; `run` describes them."""

    home: Folder | None
    data: Folder | None
    plugins: Iterable[Folder]


class SelectionArguments(WorkspaceArguments, total=False):
    """Keyword arguments that name runs; `run` describes them."""

    task: Names | None
    methods: Names | None
    model: Names | None
    recipe: str | None
    probes: Names | None
    seeds: Seeds | None
    settings: Mapping[str, object] | None
    device: str | None


class ExecutionArguments(WorkspaceArguments, total=False):
    """Keyword arguments that say how runs are executed; `run` describes them."""

    jobs: int | None
    threads: int | None
    checkpoint_interval: float
    deterministic: bool
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
            raise TypeError(f"unexpected keyword argument {name!r} (there are: {names})")
    folders = {"home": arguments.get("home"), "data": arguments.get("data")}
    named: dict[str, Any] = {name: Path(folder) for name, folder in folders.items() if folder is not None}
    return Workspace(**named, plugins=tuple(map(Path, arguments.get("plugins", ()))))


def selection(
    suite: Folder | None,
    arguments: SelectionArguments,
    allowed: type = SelectionArguments,
    *,
    tuned: bool = False,
) -> Selection:
    """Return the runs of a suite or of a grid. Raises TypeError for a name that is not `allowed`."""
    return Selection(
        workspace=workspace(arguments, allowed),
        suite=None if suite is None else str(suite),
        tasks=as_names(arguments.get("task")),
        methods=as_names(arguments.get("methods")),
        models=as_names(arguments.get("model")),
        seeds=_seeds(arguments.get("seeds")),
        probes=as_names(arguments.get("probes")),
        settings={name: _setting(value) for name, value in (arguments.get("settings") or {}).items()},
        recipe=arguments.get("recipe"),
        device=arguments.get("device"),
        tuned=tuned,
    )


def options(arguments: ExecutionArguments) -> RunOptions:
    """Return the options: on the command line every core is used and MLflow is written by default."""
    names = {field.name for field in fields(RunOptions)}
    named: dict[str, Any] = {name: value for name, value in arguments.items() if name in names}
    if named.get("shard") is not None:
        named["shard"] = Shard.parse(named["shard"])
    if named.get("costs") is not None:
        named["costs"] = Path(named["costs"])
    return RunOptions(**{"jobs": 1, "mlflow": False, **named})


def as_names(names: Names | None) -> tuple[str, ...] | None:
    """Return names as a tuple; a text is one name."""
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def _seeds(seeds: Seeds | None) -> tuple[int, ...] | None:
    if seeds is None:
        return None
    # A list of one is that seed, not a number of seeds.
    return parse_seeds(str(seeds) if isinstance(seeds, int | str) else ",".join(f"{n}-{n}" for n in seeds))


def _setting(value: object) -> str:
    return show(tuple(value) if isinstance(value, list) else value)
