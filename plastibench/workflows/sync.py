"""Bring MLflow up to date from the store, whenever a user asks for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from plastibench import tracking
from plastibench.analysis.tables import STYLES, Table, render, tables
from plastibench.cli.screen import Screen, say_damaged, say_line
from plastibench.console import progress
from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.writer import MlflowWriter
from plastibench.tuning.storage import JOURNAL, open_storage, tuning_names
from plastibench.workflows.table import DONE, SOME_FAILED


@dataclass(frozen=True)
class Beside:
    """What is to lie with the leaderboards, besides their tables."""

    files: tuple[Path, ...] = ()
    """Files and folders of the user's."""
    report: bool = False
    """Whether the page and the figures are to be made and laid there, too."""


def sync(home: Path, uri: str | None, names: Sequence[str], beside: Beside) -> int:
    """Write what is missing or differs; return the exit status.

    Raises RequestError where mlflow is not installed, a name is unknown, or the place cannot be written.
    """
    if not tracking.is_available():
        raise RequestError("mlflow is not installed: there is nothing to bring up to date")
    server, store = TrackingServer.from_uri(uri, home), Store(home)
    records = {record.id: record for record in tuned_settings.attach(store.records(), home)}
    say = partial(say_line, Screen(stderr=True))
    say_damaged(store, say, "the run is left out; `run` makes it again")
    studies = _studies(home)
    found = _boards(home, records)
    wanted = _wanted(found, [*records], names, studies)
    total = sum(map(len, wanted.values()))
    chosen = [name for name in studies if not names or name in names]
    if not total and not chosen:
        raise RequestError(f"no finished runs in {home}")
    # The runs first: a server that cannot be reached is noticed before pages are drawn.
    with _explained(server):
        added = _write(server, wanted)
    with TemporaryDirectory() as folder:
        shown = {name: found[name] for name in wanted}
        pages = _pages(shown, Path(folder)) if beside.report else {}
        with _explained(server):
            for name, runs in shown.items():
                _attach(server, name, texts(runs), (*pages.get(name, ()), *beside.files))
            trials = _write_trials(server, chosen)
    also = f" and {trials} trials of {len(chosen)} tunings" if chosen else ""
    say(f"MLflow: {added} of {total} runs{also} brought up to date in {server.display_uri}")
    return SOME_FAILED if store.damaged else DONE


@contextmanager
def _explained(server: TrackingServer) -> Iterator[None]:
    """Turn whatever MLflow and its database raise into one sentence."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"MLflow at {server.display_uri} cannot be written: {server.explain(error)}"
        ) from error


def _studies(home: Path) -> list[str]:
    """Return the names of the tunings whose trials are kept in the home folder."""
    if not (home / tuned_settings.FOLDER / JOURNAL).is_file():
        return []
    return tuning_names(open_storage(home, None))


def _boards(home: Path, records: dict[str, Record]) -> dict[str, list[Record]]:
    """Return all runs by leaderboard."""
    sorted_out = leaderboards.group_specs(home, (record.spec for record in records.values()))
    return {name: [records[spec.id] for spec in specs] for name, specs in sorted_out.items()}


def _wanted(
    found: dict[str, list[Record]], runs: list[str], names: Sequence[str], studies: list[str]
) -> dict[str, list[Record]]:
    """Return those runs that the names stand for; all where there are none."""
    if not names:
        return found
    for name in names:
        if name not in [*found, *studies] and not (name and any(run.startswith(name) for run in runs)):
            raise unknown("leaderboard, tuning or run", name, [*found, *studies, *runs[:20]])
    chosen = {
        board: [run for run in records if board in names or run.id.startswith(tuple(names))]
        for board, records in found.items()
    }
    return {board: records for board, records in chosen.items() if records}


def _write(server: TrackingServer, wanted: dict[str, list[Record]]) -> int:
    mirror, added = MlflowWriter(server), 0
    total = sum(map(len, wanted.values()))
    with progress(f"bringing {total:,} runs to MLflow", total) if total > 1 else nullcontext() as advance:
        for name, records in wanted.items():
            for record in records:
                with mirror.writing():
                    added += mirror.finish(mirror.experiment(name), record)
                if advance is not None:
                    advance(1)
    if total:
        with mirror.writing():
            mirror.close()
    return added


def _attach(server: TrackingServer, name: str, named: dict[str, str], files: tuple[Path, ...]) -> None:
    """Lay tables and files with a leaderboard."""
    mirror = MlflowWriter(server)
    with mirror.writing():
        mirror.attach(mirror.experiment(name), named, files)


def _pages(shown: dict[str, list[Record]], folder: Path) -> dict[str, tuple[Path, ...]]:
    """Write the page and figures of each leaderboard; return by leaderboard what is to be laid with it."""
    from plastibench.analysis.figures import save
    from plastibench.analysis.report.page import page

    made: dict[str, tuple[Path, ...]] = {}
    with progress("making pages", len(shown)) as advance:
        for number, (name, records) in enumerate(shown.items()):
            found, own = _tables(records), folder / str(number)
            if found:
                save(found, own / "figures", (["svg"], False))
                (own / "report.html").write_text(page(found, name), encoding="utf-8")
                made[name] = (own,)
            advance(1)
    return made


def _write_trials(server: TrackingServer, studies: list[str]) -> int:
    added = 0
    if studies:
        from plastibench.tracking.studies import TuningMirror

        mirror = MlflowWriter(server)
        with mirror.writing():
            added = sum(TuningMirror(mirror, server.home, name, None).bring() for name in studies)
    return added


def known_texts(home: Path, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the tables of leaderboards, with all the runs that they are known to have."""
    store, known = Store(home), leaderboards.load(home)
    read = {name: [store.read(run) for run in known.get(name, ())] for name in names}
    found = {name: [record for record in runs if record is not None] for name, runs in read.items()}
    return {name: texts(tuned_settings.attach(runs, home)) for name, runs in found.items()}


def texts(records: Sequence[Record]) -> dict[str, str]:
    """Return the tables of runs as files that lie with their leaderboard."""
    found, columns = _tables(records), STYLES["standard"]
    return {f"table.{form}": render(found, form, columns) for form in ("md", "csv", "json")} if found else {}


def _tables(records: Sequence[Record]) -> list[Table]:
    usual = suites.defaults()
    return tables(records, usual.baseline, usual.cost_reference)
