"""Suites: grids of runs with a name, written as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments.grid import Grid
from plastibench.experiments.seeds import parse_seeds
from plastibench.plugins.values import show

FOLDER = Path(__file__).parent
DEFAULTS = "defaults"
"""The file that says what happens where a user names nothing."""
KEYS = ("task", "method", "model", "recipe", "probe", "seeds", "device", "set", "tuned")


@dataclass(frozen=True)
class Suite:
    """One or more grids that make a leaderboard together."""

    name: str
    summary: str
    baseline: str | None
    """Method with which the others are paired in tables."""
    cost_reference: str | None
    """Method whose cost is the unit in tables, and with which the others are paired, too."""
    grids: tuple[Grid, ...]


@dataclass(frozen=True)
class Defaults:
    """What a request is completed with."""

    suite: str
    baseline: str
    cost_reference: str


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
    path = _path(name)
    plain = _read(path)
    grids = plain.pop("grid", None)
    summary, baseline = plain.pop("summary", ""), plain.pop("baseline", None)
    cost_reference = plain.pop("cost_reference", defaults().cost_reference)
    for key in plain:
        raise unknown(f"key in suite {path}", key, ("summary", "baseline", "cost_reference", "grid"))
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) for grid in grids):
        raise RequestError(f"suite {path} has no grid: write one or more [[grid]] with task and method")
    for what, value in (("summary", summary), ("baseline", baseline), ("cost_reference", cost_reference)):
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{what} in {path} must be text, not {value!r}")
    return Suite(path.stem, summary, baseline, cost_reference, tuple(_grid(path, grid) for grid in grids))


def _path(name: str) -> Path:
    if not name.endswith(".toml"):
        if name not in names():
            raise unknown("suite", name, names())
        return FOLDER / f"{name}.toml"
    path = Path(name)
    try:
        there = path.is_file()
    except OSError:  # a name that is too long for the disk
        there = False
    if not there:
        raise RequestError(f"no suite file at {path}")
    return path


def _grid(path: Path, plain: Mapping[str, Any]) -> Grid:
    for key in plain:
        if key not in KEYS:
            raise unknown(f"key of a grid in {path}", key, KEYS)
    settings, recipe, device = plain.get("set", {}), plain.get("recipe"), plain.get("device", "cpu")
    if not isinstance(settings, dict):
        raise RequestError(f"set in {path} must be a table of settings, not {settings!r}")
    tuned = plain.get("tuned")
    if tuned is not None and not isinstance(tuned, dict):
        raise RequestError(f"tuned in {path} must be a table, as a tuning writes it, not {tuned!r}")
    for what, value in (("recipe", recipe), ("device", device)):
        if value is not None and not isinstance(value, str):
            raise RequestError(f"{what} in {path} must be a name, not {value!r}")
    return Grid(
        tasks=_words(path, plain, "task"),
        methods=_words(path, plain, "method"),
        models=_words(path, plain, "model"),
        probes=_words(path, plain, "probe"),
        recipe=recipe,
        seeds=_seeds(path, plain.get("seeds", 3)),
        device=device,
        settings={name: _text(value) for name, value in _flat(settings)},
        tuned=tuned,
    )


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings by name; TOML reads `dash.floor = 1` as a table in a table."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def _seeds(path: Path, value: object) -> tuple[int, ...]:
    """Return the seeds of a count, a list of seeds, or text as on the command line."""
    if isinstance(value, list):
        value = ",".join(f"{item}-{item}" for item in value)  # [7] is seed 7, not seven of them
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise RequestError(f"seeds in {path} must be a count, a list or text such as '10-14', not {value!r}")
    return parse_seeds(str(value))


def _words(path: Path, plain: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = plain.get(key, [])
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise RequestError(f"{key} in {path} must be a name or a list of names, not {value!r}")
    return tuple(words)


def _text(value: object) -> str:
    """Return a value as it would be typed, with every digit of a number."""
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return repr(value) if isinstance(value, float) else show(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"suite {path} is not TOML: {error}") from error
    except OSError as error:
        raise RequestError(f"suite {path} cannot be read: {error.strerror}") from error
