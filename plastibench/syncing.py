"""Bring MLflow up to date from the store, whenever a user asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from plastibench import suites, tracking, tuned
from plastibench.data.progress import progress
from plastibench.display import Screen
from plastibench.errors import RequestError, unknown
from plastibench.printing import DONE, SOME_FAILED, say_damaged, say_line
from plastibench.store import Record, Store
from plastibench.tables import STYLES, render, tables
from plastibench.tracking import Server, boards
from plastibench.tracking.mirror import Mirror


def sync(home: Path, uri: str | None, names: Sequence[str], files: tuple[Path, ...]) -> int:
    """Write what is missing or differs; return the exit status.

    Raises RequestError where mlflow is not installed, a name is unknown, or the place cannot be written.
    """
    if not tracking.available():
        raise RequestError("mlflow is not installed: there is nothing to bring up to date")
    server, store = Server.of(uri, home), Store(home)
    records = {record.id: record for record in tuned.attached(store.records(), home)}
    say = partial(say_line, Screen(stderr=True))
    say_damaged(store, say, "the run is left out; `run` makes it again")
    wanted = _wanted(home, records, names)
    total = sum(map(len, wanted.values()))
    if not total:
        raise RequestError(f"no finished runs in {home}")
    try:
        added = _write(server, wanted, files)
    except RequestError:
        raise
    except Exception as error:  # whatever MLflow and its database raise
        raise RequestError(f"MLflow at {server.shown} cannot be written: {server.plain(error)}") from error
    say(f"MLflow: {added} of {total} runs brought up to date in {server.shown}")
    return SOME_FAILED if store.damaged else DONE


def _wanted(home: Path, records: dict[str, Record], names: Sequence[str]) -> dict[str, list[Record]]:
    """Return runs by leaderboard: all, or those that the names stand for."""
    found = {
        name: [records[spec.id] for spec in specs]
        for name, specs in boards.sorted_out(home, (record.spec for record in records.values())).items()
    }
    if not names:
        return found
    for name in names:
        if name not in found and not (name and any(run.startswith(name) for run in records)):
            raise unknown("leaderboard or run", name, [*found, *list(records)[:20]])
    chosen = {
        board: [run for run in runs if board in names or run.id.startswith(tuple(names))]
        for board, runs in found.items()
    }
    return {board: runs for board, runs in chosen.items() if runs}


def _write(server: Server, wanted: dict[str, list[Record]], files: tuple[Path, ...]) -> int:
    mirror, added = Mirror(server), 0
    total = sum(map(len, wanted.values()))
    with progress(f"bringing {total:,} runs to MLflow", total) if total > 1 else nullcontext() as advance:
        for name, records in wanted.items():
            for record in records:
                with mirror.writing():
                    added += mirror.finish(mirror.board(name), record)
                if advance is not None:
                    advance(1)
            with mirror.writing():
                mirror.attach(mirror.board(name), texts(records), files)
    with mirror.writing():
        mirror.close()
    return added


def texts(records: Sequence[Record]) -> dict[str, str]:
    """Return the tables of runs as files that lie with their leaderboard."""
    usual = suites.defaults()
    found = tables(records, usual.baseline, usual.yardstick)
    columns = STYLES["standard"]
    return {f"table.{form}": render(found, form, columns) for form in ("md", "csv", "json")} if found else {}
