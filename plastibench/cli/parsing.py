"""Parsers of what options are given, as click calls them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from plastibench.errors import RequestError, unknown

if TYPE_CHECKING:
    from plastibench.experiments.shard import Shard

NEVER = "never"


def names(text: str) -> tuple[str, ...]:
    """Parse names separated by commas, of which there must be one."""
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found:
        raise click.BadParameter(f"{text!r} holds no name")
    return found


class Choice(click.Choice[str]):
    """One of a few words, with the nearest one if another was written."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:  # noqa: ANN401 - as click has it
        """Return the message for a word that is none of them."""
        return str(unknown("choice", str(value), self.choices))


class FilePath(click.Path):
    """A path of a file or folder: not an empty one, as an unset variable of a shell leaves it."""

    def __init__(self, **options: bool) -> None:
        super().__init__(path_type=Path, **options)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401 - as click has it
        """Return the path. Raises BadParameter if it is empty."""
        if value == "":
            self.fail("the path is empty: write . for the current folder", param, ctx)
        return super().convert(value, param, ctx)


def seeds(text: str) -> tuple[int, ...]:
    """Parse a number of seeds, a list or a range."""
    from plastibench.experiments.seeds import parse_seeds

    try:
        return parse_seeds(text)
    except RequestError as error:  # a ValueError, whose message click would drop
        raise click.BadParameter(str(error)) from error


def setting(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise click.BadParameter(f"{text!r} is not NAME=VALUE, such as stages=10")
    return name.strip(), value.strip()


def seconds(text: str) -> float:
    """Parse a duration from 0 on, or `NEVER`, which is infinite."""
    try:
        duration = math.inf if text == NEVER else float(text)
    except ValueError:
        duration = math.nan
    if not duration >= 0 or (math.isinf(duration) and text != NEVER):
        raise click.BadParameter(
            f"{text!r} is not a duration: write seconds from 0 on, such as 60, or {NEVER}"
        )
    return duration


def timeout(text: str) -> float | None:
    """Parse a duration above 0; `NEVER` is None."""
    duration = seconds(text)
    if not duration:
        raise click.BadParameter(f"{text!r} is not a time to work in: write seconds above 0, or {NEVER}")
    return None if math.isinf(duration) else duration


def shard(text: str) -> Shard:
    """Parse the part of the runs that a job executes."""
    from plastibench.experiments.shard import Shard

    try:
        return Shard.parse(text)
    except RequestError as error:
        raise click.BadParameter(str(error)) from error
