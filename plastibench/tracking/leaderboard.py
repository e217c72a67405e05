"""The tables of a leaderboard: attached to it in MLflow, and shown there row by row."""

from collections.abc import Sequence

from plastibench.analysis.tables.export import render_tables
from plastibench.analysis.tables.table import ResultTable, build_tables
from plastibench.experiments import suites
from plastibench.store import leaderboards, tuned_settings
from plastibench.store.index.load import load_summaries
from plastibench.store.record import Record
from plastibench.store.run_store import Store

FORMATS = ("md", "csv", "json")


def leaderboard_records(store: Store, name: str) -> list[Record]:
    """Return the finished runs of a leaderboard, in short: all that it is known to have."""
    ids = leaderboards.load(store.home).get(name)
    records = load_summaries(store, ids)
    if ids is None:  # the runs of a task that are in no leaderboard
        specs = leaderboards.group_specs(store.home, (record.spec for record in records)).get(name, ())
        wanted = {spec.id for spec in specs}
        records = [record for record in records if record.id in wanted]
    return tuned_settings.attach(records, store.tuned_settings())


def leaderboard_tables(records: Sequence[Record]) -> list[ResultTable]:
    """Return the tables of runs of any suite, compared with the default methods."""
    usual = suites.defaults()
    return build_tables(records, usual.baseline, usual.cost_reference)


def table_files(tables: Sequence[ResultTable]) -> dict[str, str]:
    """Return tables by file name; nothing if there is no table."""
    return {f"table.{name}": render_tables(tables, name) for name in FORMATS} if tables else {}
