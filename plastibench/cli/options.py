"""The options that several commands share, and how words become a request."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plastibench.errors import RequestError
from plastibench.store.run_store import DEFAULT_HOME, HOME_VARIABLE

if TYPE_CHECKING:
    from plastibench.workflows.request import Request

DATA_VARIABLE = "PLASTIBENCH_DATA"
NEVER = "never"
Command = TypeVar("Command", bound=Callable[..., Any])


def _path(**more: Any) -> Any:  # noqa: ANN401 - click's own parameter type
    return click.Path(path_type=Path, **more)


def home(command: Command) -> Command:
    """Add --home."""
    return click.option(
        "--home",
        type=_path(file_okay=False),
        envvar=HOME_VARIABLE,
        default=DEFAULT_HOME,
        show_default=True,
        help=f"Folder of runs and of the MLflow store (or {HOME_VARIABLE}).",
    )(command)


def tracking(command: Command) -> Command:
    """Add --tracking."""
    return click.option(
        "--tracking",
        "uri",
        metavar="URI",
        envvar=["PLASTIBENCH_TRACKING", "MLFLOW_TRACKING_URI"],
        help="Where MLflow writes: sqlite:///FILE, postgresql://..., http://... (or PLASTIBENCH_TRACKING, or "
        "MLFLOW_TRACKING_URI). Default: a database in the home folder.",
    )(command)


def data(command: Command) -> Command:
    """Add --data."""
    return click.option(
        "--data",
        type=_path(file_okay=False),
        envvar=DATA_VARIABLE,
        help=f"Folder of data sets, looked in and downloaded to (or {DATA_VARIABLE}).",
    )(command)


def plugins(command: Command) -> Command:
    """Add --plugin."""
    return click.option(
        "--plugin",
        "plugins",
        type=_path(),
        multiple=True,
        help="A file with a method, task or model of your own. Can be repeated.",
    )(command)


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A time from 0 on, or the word for never."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Return the seconds; infinitely many are never."""
        if isinstance(value, float):
            return value
        try:
            seconds = math.inf if value == NEVER else float(value)
        except ValueError:
            seconds = math.nan
        if not seconds >= 0 or (math.isinf(seconds) and value != NEVER):
            self.fail(f"{value!r} is no time: write seconds from 0 on, such as 60, or {NEVER}", param, ctx)
        return seconds


def keeping(command: Command) -> Command:
    """Add --checkpoint-every and --deterministic."""
    command = click.option(
        "--deterministic",
        is_flag=True,
        help="Only kernels that give the same bits each time; slower on CUDA, as it is on cpu.",
    )(command)
    return click.option(
        "--checkpoint-every",
        "interval",
        type=Seconds(),
        metavar="SECONDS",
        default=60.0,
        show_default=True,
        help=f"Time between two checkpoints of a run; 0: after every step; {NEVER}: only when stopped.",
    )(command)


def threads(command: Command) -> Command:
    """Add --threads."""
    return click.option(
        "--threads",
        type=click.IntRange(min=1),
        help="Threads of each run on the CPU. Default: the cores, shared out; OMP_NUM_THREADS at most.",
    )(command)


def carrying_out(command: Command) -> Command:
    """Add --jobs, --mlflow, and what `threads`, `tracking` and `keeping` add: for what carries runs out."""
    command = tracking(keeping(command))
    command = click.option(
        "--mlflow/--no-mlflow", default=True, show_default=True, help="Mirror runs to MLflow."
    )(command)
    command = threads(command)
    return click.option(
        "--jobs", type=click.IntRange(min=1), help="Runs side by side. Default: one a core on the CPU."
    )(command)


def names(command: Command) -> Command:
    """Add the options that name what is run."""
    for option in (
        click.option(
            "--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting; see `list NAME`."
        ),
        click.option("--device", help="cpu, cuda, cuda:N or hpu. Default: the suite's, or cpu."),
        click.option("--seeds", help="How many (5), which (3,5,7) or a range (10-14). Default: 3."),
        click.option("--recipe", help="How a stage is trained: standard or sota. Default: the task's first."),
        click.option("--model", help="Models, separated by commas. Default: the task's own."),
        click.option("--method", help="Methods, separated by commas; NAME:PRESET for a published variant."),
        click.option("--task", help="Tasks, separated by commas."),
        click.argument("suite", required=False),
    ):
        command = option(command)
    return command


def default_data() -> Path:
    """Return the folder of data sets where none is named."""
    return cache_folder() / "data"


def cache_folder() -> Path:
    """Return the folder for what can be downloaded or made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plastibench"


def request(words: dict[str, Any]) -> Request:
    """Return the request that the options of `names`, `plugins`, `data` and `home` make."""
    from plastibench.workflows.request import Request

    words["settings"] = dict(pair(text) for text in words["settings"])
    words["data"] = words["data"] or default_data()
    return Request(**words, cache=cache_folder())


def names_nothing(words: dict[str, Any]) -> bool:
    """Return whether none of the options of `names` is given: everything in the home folder is meant."""
    return all(
        value in (None, ()) for name, value in words.items() if name not in ("home", "data", "plugins")
    )


def pair(text: str) -> tuple[str, str]:
    """Return the two sides of NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"--set {text} is not allowed: write --set NAME=VALUE, such as --set stages=10")
    return name.strip(), value.strip()
