"""Entry point: finds the commands, and ends with an exit code and, for an error, one line on stderr."""

import importlib
import os
import pkgutil
import signal
import sys
import traceback
from typing import Any

import click

from plastibench.cli import commands
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.logs import TRACEBACK_VARIABLE, log_to_console
from plastibench.errors import RequestError, explain, hide_logins, one_line
from plastibench.system.signals import STOP_SIGNALS
from plastibench.version import __version__


class _Commands(click.Group):
    """A group that leaves Ctrl-C to `main`: click would print an empty line, and treat EOFError alike."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Interrupted from error
        except EOFError as error:
            raise RuntimeError(f"a file ends too early: {error}") from error


class _Interrupted(Exception):  # noqa: N818 - not an error
    """The user, or the system, asked the program to stop."""


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="plastibench")
def cli() -> None:
    """Find out which remedy for loss of plasticity works, and what it costs."""


for _module in pkgutil.iter_modules(commands.__path__):
    cli.add_command(importlib.import_module(f"{commands.__name__}.{_module.name}").command)


def main() -> None:
    """Run the command line and end the process."""
    # Closing the terminal, `kill` and a cluster's scheduler stop a run as Ctrl-C does.
    for number in STOP_SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    try:
        sys.exit(_exit_code())
    except BrokenPipeError:
        # The reader of the output, such as `head`, has ended: not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.SUCCESS)


def _exit_code() -> int:
    try:
        return _run_command()
    except click.ClickException as error:
        return _fail(error.format_message(), ExitCode.USAGE)
    except RequestError as error:
        return _fail(str(error), ExitCode.USAGE)
    except (KeyboardInterrupt, _Interrupted, click.Abort):
        return _fail("interrupted; run the same command again to continue", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            click.echo(hide_logins(traceback.format_exc()), err=True, nl=False)
            return ExitCode.FAILURE
        return _fail(f"{explain(error)} (set {TRACEBACK_VARIABLE}=1 for the traceback)", ExitCode.FAILURE)


def _run_command() -> int:
    """Run the command that the arguments name; return its exit code, which is None for success."""
    with log_to_console() as handler:
        try:
            return int(cli.main(prog_name="plastibench", standalone_mode=False, obj=handler) or 0)
        finally:
            sys.stdout.flush()


def _fail(message: str, code: ExitCode) -> ExitCode:
    click.echo(f"plastibench: {one_line(message)}", err=True)
    return code
