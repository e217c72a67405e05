"""Results as one JSON object on stdout: the command, the version, and what came out by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path, PurePath
from typing import Any

import click

from plastibench.version import __version__

FORMAT = "json"


def print_json(**values: object) -> None:
    """Print values by name, with the name of the command and the version."""
    context = click.get_current_context()
    document = {"command": context.command.name, "version": __version__, **values}
    click.echo(json.dumps(_plain(document), indent=1, allow_nan=False))


def damaged_as_list(damaged: Mapping[Path, str]) -> list[dict[str, str]]:
    """Return files that were left out, with the reasons."""
    return [{"file": str(path), "reason": reason} for path, reason in damaged.items()]


def chosen_format(format_: str | None, as_json: bool) -> str:
    """Return the format that --format and --json ask for together. Raises UsageError if they differ."""
    if as_json and format_ not in (None, FORMAT):
        raise click.UsageError(f"--json and --format {format_} cannot be given together")
    return FORMAT if as_json else "text" if format_ is None else format_


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever JSON has
    """Return what JSON has for a value: null for a number that is infinite or undefined."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(inner) for inner in value]
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not a value of JSON")
