"""Entry point: finds the commands, and ends with an exit code and, for an error, one line on stderr."""

import importlib
import os
import pkgutil
import signal
import sys
import traceback

import click

from plastibench.cli import commands, completion
from plastibench.cli.command import Commands, Interrupted
from plastibench.cli.exit_codes import ExitCode
from plastibench.cli.logs import TRACEBACK_HINT, ConsoleHandler, log_to_console, wants_tracebacks
from plastibench.errors import RequestError, explain, hide_logins, one_line
from plastibench.system.cpu import wait_briefly
from plastibench.system.signals import STOP_SIGNALS
from plastibench.version import __version__


@click.group(
    "plastibench",
    cls=Commands,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="plastibench", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Find out which remedy for loss of plasticity works, and what it costs.

    Examples:
        plastibench run  # the quick start: real data, no download
        plastibench table  # what came out
        plastibench list  # what can be named
        plastibench new method my_idea  # begin a remedy of your own

    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for _module in pkgutil.iter_modules(commands.__path__):
    cli.add_command(importlib.import_module(f"{commands.__name__}.{_module.name}").command)


def main() -> None:
    """Run the command line and end the process."""
    wait_briefly()
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
    with log_to_console() as handler:
        try:
            return _run_command(handler)
        except click.ClickException as error:
            return _fail(_usage_message(error), ExitCode.USAGE)
        except RequestError as error:
            return _fail(str(error), ExitCode.USAGE)
        except (KeyboardInterrupt, Interrupted, click.Abort):
            return _fail("interrupted; run the same command again to continue", ExitCode.INTERRUPTED)
        except BrokenPipeError:
            raise
        except Exception as error:
            if wants_tracebacks():
                click.echo(hide_logins(traceback.format_exc()), err=True, nl=False)
                return ExitCode.FAILURE
            return _fail(f"{explain(error)} ({TRACEBACK_HINT})", ExitCode.FAILURE)


def _usage_message(error: click.ClickException) -> str:
    """Return click's message with the nearest of what may be meant, which for an option may be a setting."""
    if isinstance(error, click.NoSuchOption) and error.ctx is not None:
        setting = completion.setting_meant(error.ctx, error.option_name)
        if setting is not None:
            return f"No such option: {error.option_name}. Did you mean --set {setting}=...?"
    del (getattr(error, "possibilities", None) or [])[1:]
    return error.format_message()


def _run_command(handler: ConsoleHandler) -> int:
    """Run the command that the arguments name; return its exit code, which is None for success."""
    if completion.VARIABLE in os.environ:
        from plastibench.cli import shells  # noqa: F401 - it registers how bash and zsh are served
    try:
        return int(cli.main(prog_name="plastibench", standalone_mode=False, obj=handler) or 0)
    finally:
        sys.stdout.flush()


def _fail(message: str, code: ExitCode) -> ExitCode:
    click.echo(f"plastibench: {one_line(message)}", err=True)
    return code
