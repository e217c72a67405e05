"""What every command shares: a section of the help, examples, options in groups, --quiet and --verbose."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal

import click

from plastibench.version import __version__

Section = Literal["Start", "Results", "MLflow", "Tuning", "Plug-ins", "Your own model", "Machine"]
SECTIONS: tuple[Section, ...] = (
    "Start",
    "Results",
    "MLflow",
    "Tuning",
    "Plug-ins",
    "Your own model",
    "Machine",
)
"""The parts of `plastibench --help`, in their order."""
OPTIONS = "Options"
"""Heading of the options that belong to no group."""
_VERBOSITY = "plastibench.verbosity"


class Interrupted(Exception):  # noqa: N818 - not an error
    """The user, or the system, asked the program to stop."""


def define_command(name: str, section: Section) -> Callable[[Callable[..., Any]], Command]:
    """Decorate the function of a command.

    Its docstring is the help. Below the line "Examples:" are command lines, each with what it does after a #.
    """
    return click.command(name, cls=Command, section=section)


class Command(click.Command):
    """A command with a section, examples, and its options in groups."""

    def __init__(self, name: str, *, section: Section, help: str | None, **values: Any) -> None:  # noqa: ANN401 - whatever click takes
        text, self.examples = split_examples(help)
        super().__init__(name, help=text, **values)
        self.params += verbosity_options()
        self.section = section

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups, those of no group last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and record[1]:  # arguments are described in the help
                groups.setdefault(getattr(param, "heading", OPTIONS), []).append(record)
        for heading, records in sorted(groups.items(), key=lambda group: group[0] == OPTIONS):
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        write_examples(self.examples, formatter)


class Commands(click.Group):
    """The program: its help lists the commands in sections. It leaves Ctrl-C to `main`."""

    def __init__(self, name: str, *, help: str | None, **values: Any) -> None:  # noqa: ANN401 - whatever click takes
        text, self.examples = split_examples(help)
        super().__init__(name, help=text, **values)
        self.params += verbosity_options()

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as click has it
        """Run a command; click would print an empty line for Ctrl-C, and treat EOFError alike."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted from error
        except EOFError as error:
            raise RuntimeError(f"a file ends too early: {error}") from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section's commands with the first sentence of their help."""
        commands = [self.commands[name] for name in self.list_commands(ctx)]
        names = max(len(command.name or "") for command in commands)
        for section in SECTIONS:
            with formatter.section(section):
                formatter.write_dl(
                    [
                        # In one column for all sections.
                        (f"{command.name:<{names}}", command.get_short_help_str(formatter.width - names - 6))
                        for command in commands
                        if getattr(command, "section", SECTIONS[-1]) == section
                    ]
                )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, and how a command ends."""
        write_examples(self.examples, formatter)
        formatter.write_paragraph()
        formatter.write_text(
            f"This is plastibench {__version__}. `plastibench COMMAND --help` has the options of a command "
            "and examples. Exit status: 0 done, 1 some runs failed, 2 invalid request, 130 interrupted."
        )


def verbosity_options() -> list[click.Option]:
    """Return --quiet and --verbose, which the program and each of its commands take."""
    texts = {
        "quiet": "Print results, warnings and errors only, without progress.",
        "verbose": "Print messages for developers, and the traceback of an error.",
    }
    return [
        click.Option(
            [f"-{name[0]}", f"--{name}"], is_flag=True, expose_value=False, callback=_set_verbosity, help=text
        )
        for name, text in texts.items()
    ]


def _set_verbosity(ctx: click.Context, option: click.Parameter, is_given: bool) -> None:
    """Let fewer or more messages through the handler that prints them, which is `obj` if there is one."""
    if not is_given or ctx.resilient_parsing:
        return
    if ctx.meta.setdefault(_VERBOSITY, option.name) != option.name:
        raise click.UsageError("--quiet and --verbose cannot be given together")
    if ctx.obj is not None:
        ctx.obj.set_verbosity(option.name)


def split_examples(docstring: str | None) -> tuple[str, list[str]]:
    """Return the help in a docstring, and the lines of its examples."""
    text, _, examples = inspect.cleandoc(docstring or "").partition("\nExamples:\n")
    return text.rstrip(), [line.strip() for line in examples.splitlines() if line.strip()]


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """Write command lines one below the other, and what they do beside them, or below if it does not fit."""
    if not examples:
        return
    parts = [(command.rstrip(), note) for command, _, note in (line.partition("#") for line in examples)]
    width = max((len(command) for command, note in parts if note), default=0)
    room = formatter.width - formatter.current_indent - 2
    beside = all(width + 4 + len(note) <= room for _, note in parts)
    with formatter.section("Examples"):
        for command, note in parts:
            gap = f"{'':{max(0, width - len(command))}}  #" if beside else "\n      #"
            line = command + (gap + note if note else "")
            formatter.write(f"{'':{formatter.current_indent}}{line}\n")
