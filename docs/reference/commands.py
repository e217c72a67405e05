"""The commands and their options, as `--help` shows them."""

import inspect
import re
from collections.abc import Iterator

import click
from pages import code, escaped, table

from plastibench.cli.main import cli


def page() -> str:
    """Return a section for each command."""
    return "\n".join(_section(words, command) for words, command in _commands((), cli))


def _commands(words: tuple[str, ...], group: click.Group) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield each command with the words that name it, groups before their own commands."""
    for name, command in sorted(group.commands.items()):
        if not command.hidden:
            yield (*words, name), command
        if isinstance(command, click.Group):
            yield from _commands((*words, name), command)


def _section(words: tuple[str, ...], command: click.Command) -> str:
    name = " ".join(words)
    context = click.Context(command, info_name=f"plastibench {name}", **command.context_settings)
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    records = [param.get_help_record(context) for param in command.get_params(context)]
    rows = [[code(option), _text(meaning)] for option, meaning in filter(None, records) if meaning]
    paragraphs = inspect.cleandoc(command.help or "").replace("\b\n", "").split("\n\n")
    text = "\n\n".join(_text(" ".join(paragraph.split())) for paragraph in paragraphs)
    examples = "\n".join(getattr(command, "examples", ()))
    shown = f"\n\n```text\n{examples}\n```" if examples else ""
    return f"## {name}\n\n```text\n{usage}\n```\n\n{text}\n\n{table(['option', 'meaning'], rows)}{shown}"


def _text(plain: str) -> str:
    """Return plain text as Markdown, options in it as code."""
    return re.sub(r"(?<![`\w-])--?[a-z][\w-]*", lambda option: code(option[0]), escaped(plain))
