"""Options that several commands share; each group reaches the command as one typed value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from plastibench.cli import completion, parsing
from plastibench.cli.execution_options import EXECUTION, SIDE_BY_SIDE
from plastibench.cli.option_groups import Command, Option, grouped
from plastibench.runner.workspace import DATA_VARIABLE
from plastibench.store.run_store import DEFAULT_HOME, HOME_VARIABLE

if TYPE_CHECKING:
    from plastibench.runner.workspace import Workspace
    from plastibench.workflows.request import RunOptions, Selection

TRACKING_VARIABLE = "PLASTIBENCH_TRACKING_URI"
FILES = "Files"
"""Heading of the options of `workspace`."""


HOME = click.option(
    "--home",
    type=parsing.FilePath(file_okay=False),
    envvar=HOME_VARIABLE,
    default=DEFAULT_HOME,
    show_default=True,
    help=f"Folder of the runs and of the MLflow database (or {HOME_VARIABLE}).",
)
DATA = click.option(
    "--data",
    type=parsing.FilePath(file_okay=False),
    envvar=DATA_VARIABLE,
    help=f"Folder of the data sets, which are downloaded to it if missing (or {DATA_VARIABLE}).",
)
PLUGINS = click.option(
    "--plugin",
    "plugins",
    type=parsing.FilePath(),
    multiple=True,
    help="A file with a plug-in of your own: a method, task, model, regime or probe. Can be repeated.",
)
TRACKING_URI = click.option(
    "--tracking-uri",
    metavar="URI",
    envvar=TRACKING_VARIABLE,
    help=f"Where MLflow writes: sqlite:///FILE, postgresql://..., http://... (or {TRACKING_VARIABLE}). "
    "Default: MLFLOW_TRACKING_URI if it can be used, or a database in the home folder.",
)
MLFLOW = click.option(
    "--mlflow/--no-mlflow", default=True, show_default=True, help="Mirror runs to MLflow while they train."
)
THREADS = click.option(
    "--threads",
    type=click.IntRange(min=1),
    metavar="N",
    help="CPU threads of each run. Default: as many as were measured to pay; one for small models.",
)
SEEDS_HELP = "How many (5: the seeds 0 to 4), or which, as a list of seeds and ranges (3,5,10-14)."
SETTINGS = click.option(
    "--set",
    "settings",
    type=parsing.setting,
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=completion.settings,
    help="A setting; see `list NAME`. Can be repeated; of the same name the last one counts.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
FORMAT = click.option(
    "--format",
    "format_",
    metavar="NAME",
    shell_complete=completion.one_of("text", "md", "csv", "latex", "json"),
    help="text, md, csv, latex or json. Default: text.",
)
WIDE = click.option("--wide", is_flag=True, help="Show all columns, and not only those that matter most.")

RECORDS = click.option(
    "--records",
    type=parsing.FilePath(),
    multiple=True,
    metavar="FILE",
    help="Read finished runs from a records file, not from the home folder. Can be repeated.",
)

WORKSPACE = (PLUGINS, DATA, HOME)
SELECTION = (
    click.argument("suite", required=False, shell_complete=completion.suites),
    click.option(
        "--task",
        "tasks",
        type=parsing.names,
        shell_complete=completion.names_of("task"),
        help="Tasks, separated by commas.",
    ),
    click.option(
        "--method",
        "methods",
        type=parsing.names,
        shell_complete=completion.names_of("method"),
        help="Methods, separated by commas; NAME:PRESET for a published variant.",
    ),
    click.option(
        "--model",
        "models",
        type=parsing.names,
        shell_complete=completion.names_of("model"),
        help="Models, separated by commas. Default: the task's own.",
    ),
    click.option(
        "--recipe",
        metavar="NAME",
        help="How a stage is trained; see `list recipes`. Default: the task's first.",
    ),
    click.option(
        "--probe",
        "probes",
        type=parsing.names,
        shell_complete=completion.names_of("probe"),
        help="Probes, separated by commas: measurements of every stage.",
    ),
    click.option("--seeds", type=parsing.seeds, help=f"{SEEDS_HELP} Default: 3."),
    click.option(
        "--device",
        metavar="NAME",
        shell_complete=completion.devices,
        help=f"{completion.DEVICE_NAMES}. Default: the suite's, or cpu.",
    ),
    SETTINGS,
)
RUN_OPTIONS = (*SIDE_BY_SIDE, THREADS, *EXECUTION, MLFLOW, TRACKING_URI)


def workspace(command: Command) -> Command:
    """Add --plugin, --data and --home; pass them as `workspace`."""

    def make(**values: Any) -> Workspace:  # noqa: ANN401 - whatever click parsed
        return _workspace(values)

    return grouped(command, {FILES: WORKSPACE}, "workspace", make)


def selection(command: Command) -> Command:
    """Add the options that name runs, and those of `workspace`; pass them as `selection`."""
    return _selection(command, SELECTION)


def finished_selection(command: Command) -> Command:
    """Add the options of `selection`, and --records: for finished runs, which are only read."""
    return _selection(command, (*SELECTION, RECORDS))


def _selection(command: Command, options: Sequence[Option]) -> Command:
    def make(**values: Any) -> Selection:  # noqa: ANN401 - whatever click parsed
        from plastibench.workflows.request import Selection

        folders = {name: values.pop(name) for name in ("plugins", "data", "home")}
        settings = dict(values.pop("settings"))
        return Selection(workspace=_workspace(folders), settings=settings, **values)

    return grouped(command, {"Which runs": options, FILES: WORKSPACE}, "selection", make)


def run_options(command: Command) -> Command:
    """Add the options that say how runs are executed; pass them as `run_options`."""

    def make(**values: Any) -> RunOptions:  # noqa: ANN401 - whatever click parsed
        from plastibench.workflows.request import RunOptions

        return RunOptions(**values)

    return grouped(command, {"How runs are executed": RUN_OPTIONS}, "run_options", make)


def _workspace(values: dict[str, Any]) -> Workspace:
    from plastibench.runner.workspace import Workspace

    return Workspace(**{name: value for name, value in values.items() if value is not None})
