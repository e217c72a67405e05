"""The command line: parse, call, print. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from plastibench.errors import RequestError
from plastibench.explain import explain, one_line
from plastibench.store import DEFAULT_HOME, HOME_VARIABLE
from plastibench.version import __version__

if TYPE_CHECKING:
    from plastibench.request import Request

DATA_VARIABLE = "PLASTIBENCH_DATA"
TRACEBACK_VARIABLE = "PLASTIBENCH_TRACEBACK"
DONE, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130
KINDS = {"methods": "method", "tasks": "task", "models": "model"}
Command = TypeVar("Command", bound=Callable[..., Any])


def _path(**more: Any) -> Any:  # noqa: ANN401 - click's own parameter type
    return click.Path(path_type=Path, **more)


def _home(command: Command) -> Command:
    return click.option(
        "--home",
        type=_path(file_okay=False),
        envvar=HOME_VARIABLE,
        default=DEFAULT_HOME,
        show_default=True,
        help=f"Folder of runs and of the MLflow store (or {HOME_VARIABLE}).",
    )(command)


def _data(command: Command) -> Command:
    return click.option(
        "--data",
        type=_path(file_okay=False),
        envvar=DATA_VARIABLE,
        help=f"Folder of data sets, looked in and downloaded to (or {DATA_VARIABLE}).",
    )(command)


def _plugins(command: Command) -> Command:
    return click.option(
        "--plugin",
        "plugins",
        type=_path(),
        multiple=True,
        help="A file with a method, task or model of your own. Can be repeated.",
    )(command)


def _names(command: Command) -> Command:
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


class _Commands(click.Group):
    """click prints an empty line of its own for Ctrl-C and takes the end of a file for it: not for ours."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error
        except EOFError as error:
            raise RuntimeError(f"a file ends too early: {error}") from error


class _Interrupted(Exception):  # noqa: N818 - not an error
    """The user, or the system, wants the program to stop."""


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="plastibench")
def cli() -> None:
    """Find out which remedy for loss of plasticity works, and what it costs."""


@cli.command()
@_names
@click.option("--jobs", type=click.IntRange(min=1), help="Runs side by side. Default: one a core on the CPU.")
@click.option("--mlflow/--no-mlflow", default=True, show_default=True, help="Mirror finished runs to MLflow.")
@_plugins
@_data
@_home
def run(jobs: int | None, mlflow: bool, **words: Any) -> None:  # noqa: ANN401 - click hands over words
    """Carry out a suite or a grid of runs, and print its table.

    Without SUITE and --task it runs the quick start: real data, no download, about a minute.
    Finished runs are not repeated.
    """
    from plastibench.leaderboard import carry_out

    sys.exit(carry_out(_request(words), jobs, mirrored=mlflow))


@cli.command()
@_names
@click.option("--format", "form", default="text", show_default=True, help="text, md, csv or json.")
@click.option("--against", help="Method to pair the others with. Default: the suite's.")
@_plugins
@_data
@_home
def table(form: str, against: str | None, **words: Any) -> None:  # noqa: ANN401
    """Print the table of finished runs: of a suite, of a grid, or of everything in the home folder."""
    from plastibench.leaderboard import print_tables

    everything = all(
        value in (None, ()) for name, value in words.items() if name not in ("home", "data", "plugins")
    )
    sys.exit(print_tables(_request(words), form, against, everything=everything))


@cli.command("list")
@click.argument("what", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_plugins
def list_(what: str | None, as_json: bool, plugins: tuple[Path, ...]) -> None:
    """List methods, tasks, models or suites; or the settings of one of them by its name."""
    from plastibench import listing

    found = (
        listing.settings(what, plugins)
        if what and what not in listing.KINDS
        else listing.kinds(what, plugins)
    )
    click.echo(json.dumps(found, indent=1) if as_json else listing.text(found))


@cli.command()
@click.option("--device", default="cpu", show_default=True, help="Device to examine.")
@_data
@_home
def doctor(device: str, data: Path | None, home: Path) -> None:
    """Say what this machine has: versions, devices, data sets, disk."""
    from plastibench.doctor import report

    for what, answer in report(device, data or default_data(), home):
        click.echo(f"{what:<14} {answer}")


@cli.command()
@click.option("--model", help="Models, separated by commas. Default: all.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or hpu.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A setting of the recipe.")
@click.option(
    "--threads", type=click.IntRange(min=1), help="Threads on the CPU. Default: torch's own choice."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_plugins
def bench(as_json: bool, **words: Any) -> None:  # noqa: ANN401
    """Measure how fast a device trains the models, and where the seconds of a run go."""
    from plastibench.measure import Ask, measure

    words["settings"] = dict(_pair(text) for text in words["settings"])
    measure(Ask(**words), as_json=as_json)


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Default: one that is free.")
@_home
def ui(port: int, home: Path) -> None:
    """Open MLflow's page on the runs of the home folder, on this machine alone, until Ctrl-C."""
    from plastibench.ui import serve

    sys.exit(serve(home, port, click.echo))


def default_data() -> Path:
    """Return the folder of data sets where none is named."""
    return cache_folder() / "data"


def cache_folder() -> Path:
    """Return the folder for what can be downloaded or made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plastibench"


def _request(words: dict[str, Any]) -> Request:
    from plastibench.request import Request

    words["settings"] = dict(_pair(text) for text in words["settings"])
    words["data"] = words["data"] or default_data()
    return Request(**words, cache=cache_folder())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise RequestError(f"--set {text} is not allowed: write --set NAME=VALUE, such as --set stages=10")
    return name.strip(), value.strip()


def main() -> None:
    """Run the command line; every error is one line on stderr."""
    # Closing the terminal or `kill` stops a run as Ctrl-C does: no process stays behind.
    for name in ("SIGTERM", "SIGHUP"):
        sign = getattr(signal, name, None)
        if sign is not None and signal.getsignal(sign) == signal.SIG_DFL:
            signal.signal(sign, signal.default_int_handler)
    try:
        sys.exit(_status())
    except BrokenPipeError:
        # The reader of our output, `head` say, has gone: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(DONE)


def _status() -> int:
    try:
        try:
            cli.main(prog_name="plastibench", standalone_mode=False)
        finally:
            sys.stdout.flush()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else DONE
    except (RequestError, click.ClickException) as error:
        return _say(
            error.format_message() if isinstance(error, click.ClickException) else str(error), WRONG_REQUEST
        )
    except (KeyboardInterrupt, _Interrupted, click.Abort):
        return _say("interrupted; the same command goes on with the runs that are not finished", INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        return _say(f"{explain(error)} (set {TRACEBACK_VARIABLE}=1 for the whole traceback)", SOME_FAILED)
    return DONE


def _say(message: str, status: int) -> int:
    click.echo(f"plastibench: {one_line(message)}", err=True)
    return status
