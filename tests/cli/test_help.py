"""The help: sections, examples that are understood, and options that every command takes."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner
from support.commands import command

from plastibench.cli.command import SECTIONS, Command
from plastibench.cli.main import cli
from plastibench.version import __version__

NAMES = sorted(cli.commands)


def shown(*words: str) -> str:
    outcome = CliRunner().invoke(cli, [*words, "--help"])
    assert outcome.exit_code == 0, words
    return outcome.output


def test_every_command_is_in_a_section_with_one_whole_sentence() -> None:
    text = command().out
    assert text == command("--help").out
    heads = [line.rstrip(":") for line in text.splitlines() if re.fullmatch(r"[A-Z][\w -]+:", line)]
    assert heads == ["Options", *SECTIONS, "Examples"]
    lines = {line.split()[0]: line for line in text.splitlines() if line.startswith("  ")}
    for name in NAMES:
        assert isinstance(cli.commands[name], Command), name
        assert lines[name].endswith("."), lines[name]
        assert not lines[name].endswith("..."), f"{name}: the first sentence of its help is too long"
    assert __version__ in text
    assert command("--version").out == f"plastibench {__version__}\n"


@pytest.mark.parametrize("name", NAMES)
def test_help_fits_80_columns_and_has_examples_that_are_understood(name: str) -> None:
    text = shown(name)
    own = cli.commands[name]
    assert isinstance(own, Command)
    assert own.examples
    long = [line for line in text.splitlines() if len(line) > 80 and "plastibench" not in line]
    assert long == []
    for example in own.examples:
        line = example.partition("  #")[0]
        words = shlex.split(re.findall(r"plastibench [^|>\"')]*", line)[0])[1:]
        assert words[0] == name
        answer = shown(*words)
        assert all(word.partition("=")[0] in answer for word in words if word.startswith("--")), line


@pytest.mark.parametrize("name", NAMES)
def test_every_command_can_be_quiet_or_verbose(name: str) -> None:
    options = {option for param in cli.commands[name].params for option in param.opts}
    assert {"-q", "--quiet", "-v", "--verbose"} <= options
    assert not [
        param.name
        for param in cli.commands[name].params
        if isinstance(param, click.Option) and not param.help
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tabel"], "No such command 'tabel'. Did you mean 'table'?"),
        (["run", "--methd", "warm"], "No such option '--methd'. Did you mean '--method'?"),
        (
            ["new", "metod", "x"],
            "no choice named 'metod'; did you mean 'method'? (there are: method, model, task)",
        ),
        (["completion", "zhs"], "no choice named 'zhs'; did you mean 'zsh'?"),
        (["table", "--style", "wied"], "no style named 'wied'; did you mean 'wide'?"),
        (["-q", "list", "-v"], "--quiet and --verbose cannot be given together"),
        (["status", "--json", "--watch"], "--watch and --json cannot be given together"),
        (["table", "--json", "--format", "md"], "--json and --format md cannot be given together"),
    ],
)
def test_the_nearest_word_is_named(words: list[str], expected: str) -> None:
    answer = command(*words)
    assert (answer.status, answer.out, len(answer.lines())) == (2, "", 1)
    assert expected in answer.err
