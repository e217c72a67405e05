"""Suites: grids of runs with a name, written as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.grid import Grid, parse_seeds
from plastibench.settings import show

FOLDER = Path(__file__).parent
DEFAULTS = "defaults"
"""The file that says what happens where a user names nothing."""
KEYS = ("task", "method", "model", "recipe", "seeds", "device", "set")


@dataclass(frozen=True)
class Suite:
    """One or more grids that make a leaderboard together."""

    name: str
    summary: str
    baseline: str | None
    """Method with which the others are paired in tables."""
    grids: tuple[Grid, ...]


@dataclass(frozen=True)
class Defaults:
    """What a request is completed with."""

    suite: str
    baseline: str


def defaults() -> Defaults:
    """Return what is run, and compared with what, where nothing is said."""
    return Defaults(**_read(FOLDER / f"{DEFAULTS}.toml"))


def names() -> list[str]:
    """Return the suites shipped, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != DEFAULTS)


def summaries() -> Iterator[tuple[str, str]]:
    """Yield (name, summary) of the suites shipped."""
    for name in names():
        yield name, str(_read(FOLDER / f"{name}.toml")["summary"])


def load(name: str) -> Suite:
    """Return a suite by its name, or from a TOML file by its path.

    Raises RequestError for a name or file that does not exist, a key that means nothing, or a
    value of the wrong type.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file() or path.stem == DEFAULTS:
        raise (
            RequestError(f"no suite file at {path}")
            if name.endswith(".toml")
            else unknown("suite", name, names())
        )
    plain = _read(path)
    grids = plain.pop("grid", None)
    summary, baseline = plain.pop("summary", ""), plain.pop("baseline", None)
    if plain or not isinstance(grids, list):
        raise RequestError(
            f"suite {path} must hold summary, baseline and one or more [[grid]]; it holds {list(plain)}"
        )
    return Suite(path.stem, str(summary), baseline, tuple(_grid(path, grid) for grid in grids))


def _grid(path: Path, plain: Mapping[str, Any]) -> Grid:
    for key in plain:
        if key not in KEYS:
            raise unknown(f"key of a grid in {path}", key, KEYS)
    settings = plain.get("set", {})
    if not isinstance(settings, dict):
        raise RequestError(f"set in {path} must be a table of settings, not {settings!r}")
    return Grid(
        tasks=_words(path, plain, "task"),
        methods=_words(path, plain, "method"),
        models=_words(path, plain, "model"),
        recipe=plain.get("recipe"),
        seeds=parse_seeds(str(plain.get("seeds", "3"))),
        device=str(plain.get("device", "cpu")),
        settings={name: _text(value) for name, value in settings.items()},
    )


def _words(path: Path, plain: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = plain.get(key, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RequestError(f"{key} in {path} must be a name or a list of names, not {value!r}")
    return tuple(words)


def _text(value: object) -> str:
    return show(tuple(value)) if isinstance(value, list) else show(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"suite {path} is not TOML: {error}") from error
