"""Suites: grids of runs with a name, written as TOML."""

import tomllib
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plastibench.errors import RequestError, unknown
from plastibench.experiments.grid import Grid
from plastibench.experiments.seeds import parse_seeds
from plastibench.plugins.values import show

FOLDER = Path(__file__).parent
DEFAULTS = "defaults"
"""Name of the file with the defaults."""

_Keys = Mapping[str, tuple[type | types.UnionType, str]]
"""The type of each key of a table, and a description of it."""
SUITE_KEYS: _Keys = {
    "summary": (str, "text"),
    "baseline": (str, "the name of a method"),
    "cost_reference": (str, "the name of a method"),
    "grid": (list, "a list of tables"),
    "code": (dict, "a table of digests, as a tuning writes it"),
}
GRID_KEYS: _Keys = {
    "task": (str | list, "a name or a list of names"),
    "method": (str | list, "a name or a list of names"),
    "model": (str | list, "a name or a list of names"),
    "probe": (str | list, "a name or a list of names"),
    "recipe": (str, "a name"),
    "seeds": (int | str | list, "a count, a list or text such as '10-14'"),
    "device": (str, "a name"),
    "set": (dict, "a table of settings"),
    "tuned": (dict, "a table, as a tuning writes it"),
}


@dataclass(frozen=True)
class Suite:
    """One or more grids whose runs make a leaderboard."""

    name: str
    summary: str
    baseline: str | None
    """Method with which tables compare the others."""
    cost_reference: str | None
    """Method whose cost is the unit in tables; they compare the others with it, too."""
    grids: tuple[Grid, ...]
    code: Mapping[str, str] = field(default_factory=dict)
    """Digests of the plug-ins for which a tuning chose the settings, by name."""


@dataclass(frozen=True)
class Defaults:
    """What is run and compared if the user names nothing."""

    suite: str
    baseline: str
    cost_reference: str


def defaults() -> Defaults:
    """Return the defaults."""
    return Defaults(**_read(FOLDER / f"{DEFAULTS}.toml"))


def names() -> list[str]:
    """Return the names of the suites shipped, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.toml") if path.stem != DEFAULTS)


def summaries() -> Iterator[tuple[str, str]]:
    """Yield (name, summary) of the suites shipped."""
    for name in names():
        yield name, str(_read(FOLDER / f"{name}.toml")["summary"])


def load(name: str) -> Suite:
    """Return a suite by its name, or from a TOML file by its path.

    Raises RequestError for a name or file that does not exist, an unknown key, or a value of the wrong type.
    """
    path = _path(name)
    table = _read(path)
    _check(path, table, SUITE_KEYS)
    grids = table.get("grid", [])
    if not grids or not all(isinstance(grid, dict) for grid in grids):
        raise RequestError(f"suite {path} has no grid: write one or more [[grid]] with task and method")
    return Suite(
        name=path.stem,
        summary=table.get("summary", ""),
        baseline=table.get("baseline"),
        cost_reference=table.get("cost_reference", defaults().cost_reference),
        grids=tuple(_grid(path, grid) for grid in grids),
        code=table.get("code", {}),
    )


def _path(name: str) -> Path:
    if not name.endswith(".toml"):
        if name not in names():
            raise unknown("suite", name, names())
        return FOLDER / f"{name}.toml"
    path = Path(name)
    with suppress(OSError):  # a name that is too long for the disk
        if path.is_file():
            return path
    raise RequestError(f"no suite file at {path}")


def _check(path: Path, table: Mapping[str, object], keys: _Keys) -> None:
    for key, value in table.items():
        if key not in keys:
            raise unknown(f"key in suite {path}", key, keys)
        allowed, description = keys[key]
        if not isinstance(value, allowed) or isinstance(value, bool):
            raise RequestError(f"{key} in {path} must be {description}, not {value!r}")


def _grid(path: Path, table: Mapping[str, Any]) -> Grid:
    _check(path, table, GRID_KEYS)
    return Grid(
        tasks=_names(table.get("task", [])),
        methods=_names(table.get("method", [])),
        models=_names(table.get("model", [])),
        probes=_names(table.get("probe", [])),
        seeds=_seeds(table.get("seeds", 3)),
        settings=_settings(path, table.get("set", {})),
        **{key: table[key] for key in ("recipe", "device", "tuned") if key in table},
    )


def _settings(path: Path, table: Mapping[str, Any]) -> dict[str, str]:
    """Return settings by their full name. Raises RequestError for a name that is there twice."""
    settings: dict[str, str] = {}
    for name, value in _flat(table):
        if name in settings:
            raise RequestError(f"{name} in {path} is given more than once")
        settings[name] = _text(value)
    return settings


def _flat(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield settings by their full name: TOML reads `dash.floor = 1` as a nested table."""
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def _seeds(value: int | str | list[object]) -> tuple[int, ...]:
    """Return the seeds of a count, a list of seeds, or text as on the command line."""
    if not isinstance(value, list):
        return parse_seeds(str(value))
    if not all(type(seed) is int and seed >= 0 for seed in value):
        raise RequestError(f"seeds={value!r} is not allowed: a list is of whole numbers from 0 on")
    return parse_seeds(",".join(f"{seed}-{seed}" for seed in value))  # [7] is seed 7, not seven seeds


def _names(value: str | list[object]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def _text(value: object) -> str:
    """Return a value as a user would type it, with every digit of a number."""
    if isinstance(value, list):
        return ",".join(_text(item) for item in value)
    return repr(value) if isinstance(value, float) else show(value)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RequestError(f"suite {path} cannot be read: {error.strerror}") from error
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise RequestError(f"suite {path} is not TOML: line {line} is not UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise RequestError(f"suite {path} is not TOML: {error}") from error
