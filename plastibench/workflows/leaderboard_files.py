"""The tables that are attached to a leaderboard in MLflow."""

from collections.abc import Iterable, Sequence

from plastibench.analysis.tables.export import render_tables
from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.experiments import suites
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.record import Record
from plastibench.store.run_store import Store

FORMATS = ("md", "csv", "json")


def leaderboard_tables(records: Sequence[Record]) -> list[ResultTable]:
    """Return the tables of runs of any suite, compared with the default methods."""
    usual = suites.defaults()
    return build_tables(records, usual.baseline, usual.cost_reference)


def table_files(records: Sequence[Record]) -> dict[str, str]:
    """Return the tables of runs by file name; nothing if there is no table."""
    shown = leaderboard_tables(records)
    return {f"table.{name}": render_tables(shown, name) for name in FORMATS} if shown else {}


def files_by_leaderboard(store: Store, names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the table files of leaderboards, with all runs that they are known to have."""
    known = leaderboards.load(store.home)
    files = {}
    for name in names:
        records = [record for run in known.get(name, ()) if (record := store.read(run)) is not None]
        files[name] = table_files(tuned_settings.attach(records, store.tuned_settings()))
    return files
