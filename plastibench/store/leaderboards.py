"""Which leaderboards the runs of a home folder were asked for: a run itself does not say."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from plastibench.experiments.spec import Spec
from plastibench.system.files import write_atomic
from plastibench.system.locks import file_lock

NAME = "leaderboards.json"


def load(home: Path) -> dict[str, list[str]]:
    """Return the ids of the runs of each leaderboard; nothing where the file is missing or damaged."""
    try:
        plain = json.loads((home / NAME).read_text(encoding="utf-8"))
        return {str(name): [str(run) for run in runs] for name, runs in plain.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def add_runs(home: Path, name: str, runs: Iterable[str]) -> None:
    """Add runs to those that a leaderboard is known to have."""
    wanted = set(runs)
    if wanted <= set(load(home).get(name, ())):
        return
    with file_lock(home / f".{NAME}.lock", remove=True):
        found = load(home)
        found[name] = sorted(wanted | set(found.get(name, ())))
        write_atomic(home / NAME, json.dumps(found, indent=1, sort_keys=True) + "\n")


def assign(home: Path, name: str | None, specs: Iterable[Spec]) -> dict[str, list[Spec]]:
    """Return runs by leaderboard, and remember them as those of `name` where there is one."""
    if name is None:
        return group_specs(home, specs)
    found = list(specs)
    add_runs(home, name, (spec.id for spec in found))
    return {name: found}


def group_specs(home: Path, specs: Iterable[Spec]) -> dict[str, list[Spec]]:
    """Return runs by the leaderboards that they are of; those of none are of one with their task's name.

    Sealed runs, those of a tuning, are in no leaderboard.
    """
    boards = load(home)
    names: dict[str, list[str]] = {}
    for board, runs in boards.items():
        for run in runs:
            names.setdefault(run, []).append(board)
    found: dict[str, list[Spec]] = {}
    for spec in specs:
        for board in [] if spec.sealed else names.get(spec.id, [spec.task.name]):
            found.setdefault(board, []).append(spec)
    return found
