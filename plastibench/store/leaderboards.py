"""Leaderboards: under which names the runs of a home folder were requested. Runs do not record that."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from plastibench.experiments.spec import Spec
from plastibench.system.files import set_aside, write_atomic
from plastibench.system.locks import file_lock

LEADERBOARDS_FILE = "leaderboards.json"
DAMAGED = (ValueError, AttributeError, TypeError)
"""What reading a damaged file raises."""


def load(home: Path) -> dict[str, list[str]]:
    """Return the run ids of each leaderboard; empty if the file is missing or damaged."""
    try:
        return _parse(home / LEADERBOARDS_FILE)
    except (OSError, *DAMAGED):
        return {}


def _parse(path: Path) -> dict[str, list[str]]:
    boards = json.loads(path.read_text(encoding="utf-8"))
    return {str(name): [str(run) for run in runs] for name, runs in boards.items()}


def add_runs(home: Path, name: str, runs: Iterable[str]) -> None:
    """Add runs to a leaderboard. A damaged file is kept under another name."""
    added = set(runs)
    if added <= set(load(home).get(name, ())):
        return
    with file_lock(home / f".{LEADERBOARDS_FILE}.lock", remove=True):
        try:
            boards = _parse(home / LEADERBOARDS_FILE)
        except FileNotFoundError:
            boards = {}
        except DAMAGED as error:
            set_aside(home / LEADERBOARDS_FILE, error)
            boards = {}
        boards[name] = sorted(added | set(boards.get(name, ())))
        write_atomic(home / LEADERBOARDS_FILE, json.dumps(boards, indent=1, sort_keys=True) + "\n")


def assign(home: Path, name: str | None, specs: Iterable[Spec]) -> dict[str, list[Spec]]:
    """Return specs by leaderboard: all are added to that of `name`, or grouped if it is None."""
    if name is None:
        return group_specs(home, specs)
    specs = list(specs)
    add_runs(home, name, (spec.id for spec in specs))
    return {name: specs}


def group_specs(home: Path, specs: Iterable[Spec]) -> dict[str, list[Spec]]:
    """Return specs by the leaderboards that they are in, or by their task's name if they are in none.

    Runs of a tuning, whose test set is held out, are in no leaderboard.
    """
    names = defaultdict(list)
    for name, runs in load(home).items():
        for run in runs:
            names[run].append(name)
    boards = defaultdict(list)
    for spec in specs:
        for name in [] if spec.held_out_test else names.get(spec.id, [spec.task.name]):
            boards[name].append(spec)
    return dict(boards)
