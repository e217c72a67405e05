"""What can be known of a code block without executing it: names, options, imports, files."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import click

from plastibench.cli.main import cli
from plastibench.experiments import suites
from plastibench.plugins import plugin
from plastibench.plugins.registry import Registry
from support.blocks import ROOT, Block

PROGRAMS = (
    "bash",
    "cd",
    "cp",
    "docker",
    "export",
    "git",
    "jupyter",
    "kubectl",
    "mkdir",
    "pre-commit",
    "sbatch",
    "srun",
)
"""Others that a page may name; what they are given is not checked."""
OURS = "plastibench"


def check(block: Block) -> None:
    """Raise AssertionError, with the page and the line, for a block that cannot be right."""
    assert block.language in CHECKS, f"{block.where}: no test knows the language {block.language!r}"
    try:
        CHECKS[block.language](block)
    except click.ClickException as error:
        raise AssertionError(f"{block.where}: {error.format_message()}") from error
    except (AssertionError, SyntaxError, ImportError, AttributeError, ValueError) as error:
        raise AssertionError(f"{block.where}: {error}") from error


def _check_python(block: Block) -> None:
    """Check the syntax, the imports of ours, and the keywords of calls of the Python API."""
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            for name in node.names:
                _check_import(f"{node.module}", name.name)
        elif isinstance(node, ast.Attribute) and ast.unparse(node).startswith(f"{OURS}."):
            pkgutil.resolve_name(ast.unparse(node))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).startswith(f"{OURS}."):
            _check_keywords(node)


def _check_import(module: str, name: str) -> None:
    if not hasattr(importlib.import_module(module), name):
        importlib.import_module(f"{module}.{name}")


def _check_keywords(call: ast.Call) -> None:
    function = pkgutil.resolve_name(ast.unparse(call.func))
    parameters = inspect.signature(function).parameters
    allowed = set(parameters)
    for parameter in parameters.values():
        unpacked = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
        if unpacked:
            allowed |= set(pkgutil.resolve_name(f"{function.__module__}:{unpacked[1]}").__annotations__)
    unknown = [word.arg for word in call.keywords if word.arg is not None and word.arg not in allowed]
    assert not unknown, f"{ast.unparse(call.func)} takes no {unknown}"


def _check_shell(block: Block) -> None:
    for line in block.commands():
        _check_command(without_variables(shlex.split(line)), block)


def without_variables(words: list[str]) -> list[str]:
    """Return a command without the variables that are set for it."""
    return words[1:] if words and re.fullmatch(r"[A-Z_]+=.*", words[0]) else words


def _check_command(words: list[str], block: Block) -> None:
    program, rest = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == OURS:
        parsed(rest)
    elif program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        unknown = [word for word in rest if "=" not in word and word not in targets]
        assert not unknown, f"there is no make {' '.join(unknown)}"
    elif program == "pip":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for names in re.findall(rf"(?:{OURS}|\.)\[([\w,]+)\]", " ".join(rest)):
            unknown = sorted(set(names.split(",")) - set(project["optional-dependencies"]))
            assert not unknown, f"there is no extra {unknown}"
    elif program == "python":
        _check_script(rest, block)
    else:
        assert program in PROGRAMS, f"no test knows the program {program}"


def _check_script(words: list[str], block: Block) -> None:
    if words[0] == "-c":
        ast.parse(words[1])
    elif words[0] == "-m":
        assert importlib.util.find_spec(words[1]), f"there is no module {words[1]}"
    elif (ROOT / words[0]).exists():
        text = (ROOT / words[0]).read_text(encoding="utf-8")
        options = [word.partition("=")[0] for word in words[1:] if word.startswith("--")]
        missing = [option for option in options if f'"{option}"' not in text]
        assert not missing, f"{words[0]} has no {missing}"
    else:
        written = f"<!-- run: file {words[0]} -->" in block.page.read_text(encoding="utf-8")
        assert written, f"there is no file {words[0]}"


def parsed(words: list[str]) -> tuple[str, click.Context]:
    """Parse the words after the program's name; return the name of the command and its context.

    Raises AssertionError for a command or a plug-in that does not exist, click's errors for the rest.
    """
    command: click.Command = cli
    name, context = "", click.Context(cli)
    while isinstance(command, click.Group):
        _, words, _ = command.make_parser(context).parse_args(list(words))
        if not words:  # the program's own --help or --version
            break
        assert words[0] in command.commands, f"there is no command {f'{name} {words[0]}'.strip()}"
        command, name, words = command.commands[words[0]], f"{name} {words[0]}".strip(), words[1:]
        context = click.Context(command)
    if not isinstance(command, click.Group) and not {"--help", "-h"} & set(words):
        with contextlib.suppress(_MissingFile):
            context = _full_context(command, name, words)
            _check_names(context)
    return name, context


class _MissingFile(Exception):  # noqa: N818 - not an error
    """A command names a file of the reader's, which is not here."""


def _full_context(command: click.Command, name: str, words: list[str]) -> click.Context:
    try:
        return command.make_context(name, list(words))
    except click.BadParameter as error:
        if isinstance(error.param and error.param.type, click.Path) and "not exist" in error.message:
            raise _MissingFile from error
        raise


@cache
def _shipped(kind: str) -> frozenset[str]:
    return frozenset(Registry().names(kind))


def _check_names(context: click.Context) -> None:
    """Check the names of plug-ins and suites; a name in capitals stands for one of the reader's."""
    files = [Path(path) for path in context.params.get("plugins") or ()]
    own = {path.stem for path in files}
    for kind in plugin.KINDS:
        for name in context.params.get(f"{kind}s") or ():
            plain = str(name).partition(":")[0]
            known = plain in _shipped(kind) or plain in own or plain.isupper() or plain == "all"
            assert known, f"there is no {kind} {plain}"
    suite = context.params.get("suite")
    if isinstance(suite, str) and not context.params.get("tuned"):
        named = suite in suites.names() or suite.endswith(".toml") or suite.isupper()
        assert named, f"there is no suite {suite}"


def _check_toml(block: Block) -> None:
    tomllib.loads(block.text)


CHECKS: dict[str, Callable[[Block], None]] = {
    "python": _check_python,
    "sh": _check_shell,
    "toml": _check_toml,
    "yaml": lambda block: None,
}
