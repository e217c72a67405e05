"""Bring MLflow up to date with the home folder."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from plastibench.console import progress
from plastibench.errors import RequestError, require, unknown
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_store import Store
from plastibench.tracking import TrackingServer
from plastibench.tracking.aggregates import write_aggregates
from plastibench.tracking.leaderboard import leaderboard_tables, table_files
from plastibench.tracking.studies import TuningMirror, TuningSource
from plastibench.tracking.writer import MlflowWriter
from plastibench.tuning.storage import JOURNAL, open_storage, tuning_names
from plastibench.workflows.finished_runs import log_damaged
from plastibench.workflows.kept_plugins import kept_plugins

logger = logging.getLogger(__name__)

Leaderboards = dict[str, list[Record]]
"""Runs by the name of their leaderboard."""


@dataclass(frozen=True, kw_only=True)
class SyncRequest:
    """What to bring to MLflow."""

    home: Path
    tracking_uri: str | None = field(default=None, repr=False)
    """MLflow's address; None is a database in the home folder."""
    names: Sequence[str] = ()
    """Leaderboards, tunings, and ids of runs or beginnings of them; none stands for everything."""
    attachments: tuple[Path, ...] = ()
    """Files and folders to attach to each leaderboard."""
    report: bool = False
    """Whether to attach each leaderboard's page and figures."""


@dataclass(frozen=True)
class SyncResult:
    """What was brought to MLflow."""

    address: str
    """Without a password."""
    num_runs: int
    num_runs_written: int
    """Runs that were missing or differed."""
    num_tunings: int
    num_trials_written: int
    has_artifacts: bool
    """Whether tables, pages and attached files could be stored."""
    damaged: Mapping[Path, str]
    """Run files that were left out, with the reason."""


def sync(request: SyncRequest) -> SyncResult:
    """Write to MLflow what is missing or differs.

    Raises RequestError if mlflow is not installed, a name is unknown, or MLflow cannot be written.
    """
    require("mlflow", "`sync`")
    store = Store(request.home)
    writer = MlflowWriter(TrackingServer.choose(request.tracking_uri, request.home))
    records = {record.id: record for record in tuned_settings.attach(store.records(), store.tuned_settings())}
    log_damaged(store, "left out; `run` executes the run again")
    tunings = _tunings(store.home)
    known = _leaderboards(store.home, records)
    boards = _select(known, [*records], request.names, tunings)
    chosen = [name for name in tunings if not request.names or name in request.names]
    if not boards and not chosen:
        raise RequestError(f"no finished runs in {store.home}")
    # Runs first: a server that cannot be reached is noticed before pages are drawn.
    with _request_errors(writer):
        num_written = _write_runs(writer, boards)
    with TemporaryDirectory() as folder:
        shown = {name: known[name] for name in boards}
        pages = _write_pages(shown, store, Path(folder)) if request.report else {}
        with _request_errors(writer), writer.session():
            for name in boards:
                tables, experiment = leaderboard_tables(known[name]), writer.experiment(name)
                write_aggregates(writer, experiment, tables)
                writer.attach(experiment, table_files(tables), (*pages.get(name, ()), *request.attachments))
            sources = [TuningSource(name) for name in chosen]
            num_trials = sum(TuningMirror(writer, store.home, source).update() for source in sources)
    return SyncResult(
        address=writer.server.display_uri,
        num_runs=sum(map(len, boards.values())),
        num_runs_written=num_written,
        num_tunings=len(chosen),
        num_trials_written=num_trials,
        has_artifacts=writer.takes_artifacts,
        damaged=dict(store.damaged),
    )


@contextmanager
def _request_errors(writer: MlflowWriter) -> Iterator[None]:
    """Turn whatever MLflow and its database raise into a RequestError."""
    try:
        yield
    except RequestError:
        raise
    except Exception as error:
        server = writer.server
        raise RequestError(
            f"MLflow at {server.display_uri} cannot be written: {server.explain(error)}"
        ) from error


def _tunings(home: Path) -> list[str]:
    """Return the names of the tunings whose trials are in the home folder."""
    if not (home / tuned_settings.FOLDER / JOURNAL).is_file():
        return []
    try:
        return tuning_names(open_storage(home, None))
    except RequestError as error:  # such as a damaged journal, which the runs do not need
        logger.warning("%s: left out", error)
        return []


def _leaderboards(home: Path, records: Mapping[str, Record]) -> Leaderboards:
    groups = leaderboards.group_specs(home, (record.spec for record in records.values()))
    return {name: [records[spec.id] for spec in specs] for name, specs in groups.items()}


def _select(
    boards: Leaderboards, runs: Sequence[str], names: Sequence[str], tunings: Sequence[str]
) -> Leaderboards:
    """Return the runs that the names stand for; all if there are none."""
    if not names:
        return boards
    for name in names:
        if name not in [*boards, *tunings] and not (name and any(run.startswith(name) for run in runs)):
            raise unknown("leaderboard, tuning or run", name, [*boards, *tunings, *runs[:20]])
    chosen = {
        board: [run for run in records if board in names or run.id.startswith(tuple(names))]
        for board, records in boards.items()
    }
    return {board: records for board, records in chosen.items() if records}


def _write_runs(writer: MlflowWriter, boards: Leaderboards) -> int:
    num_written, total = 0, sum(map(len, boards.values()))
    with progress(f"bringing {total:,} runs to MLflow", total) if total > 1 else nullcontext() as advance:
        for name, records in boards.items():
            for record in records:
                with writer.session():
                    num_written += writer.write_record(writer.experiment(name), record)
                if advance is not None:
                    advance(1)
    with writer.session():
        writer.close()
    return num_written


def _write_pages(boards: Leaderboards, store: Store, folder: Path) -> dict[str, tuple[Path, ...]]:
    """Write each leaderboard's page and figures; return the folders by leaderboard."""
    from plastibench.analysis.figures.render import save_figures
    from plastibench.analysis.report.page import render_page

    folders: dict[str, tuple[Path, ...]] = {}
    with progress("making pages", len(boards)) as advance:
        for number, (name, records) in enumerate(boards.items()):
            shown, subfolder = leaderboard_tables(records), folder / str(number)
            if shown:
                save_figures(shown, subfolder / "figures")
                page = render_page(shown, name, plugins=kept_plugins(store, records))
                (subfolder / "report.html").write_text(page, encoding="utf-8")
                folders[name] = (subfolder,)
            advance(1)
    return folders
