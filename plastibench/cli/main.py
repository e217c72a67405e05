"""The command line: finds its verbs, and turns every way to end into one line and an exit status."""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import sys
from typing import Any

import click

from plastibench.cli import commands
from plastibench.errors import RequestError, explain, one_line
from plastibench.version import __version__

TRACEBACK_VARIABLE = "PLASTIBENCH_TRACEBACK"
DONE, SOME_FAILED, WRONG_REQUEST, INTERRUPTED = 0, 1, 2, 130


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


for _verb in pkgutil.iter_modules(commands.__path__):
    cli.add_command(importlib.import_module(f"{commands.__name__}.{_verb.name}").command)


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
