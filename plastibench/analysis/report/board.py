"""What a page of a site has beside a report: links, permanent anchors, and the history of its runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from plastibench.analysis.stats.estimate import estimate_mean
from plastibench.analysis.tables.table import ResultTable
from plastibench.store.record import Record


@dataclass(frozen=True)
class BoardLinks:
    """Where a page leads to, relative to it."""

    index: str
    records: str
    """The records file of the board."""
    file: str
    """Its name, as a word of a shell."""


class VersionRow(NamedTuple):
    """The runs of a setting that were made with one version of the code."""

    setting: str
    version: str
    """Of plastibench, with that of the protocol."""
    commit: str
    first: str
    """Day of the first run."""
    last: str
    num_runs: int
    baseline: str
    """Average accuracy of the baseline, to be compared from version to version."""


def row_anchors(table: ResultTable, number: int) -> list[str]:
    """Return the anchor of each row: always the same, whatever else is on the page.

    `number` is that of the table on its page: rows of one variant may differ in what their plug-ins read.
    """
    anchors: list[str] = []
    for row in table.rows:
        anchor = f"row-{row.records[0].variant_id[:12]}"
        data = (row.records[0].data or "")[:6]
        anchor += f"-{data}" if data else ""
        anchors.append(anchor if anchor not in anchors else f"{anchor}-{number}-{len(anchors)}")
    return anchors


def version_history(tables: Sequence[ResultTable]) -> list[VersionRow]:
    """Return the versions of the code with which the runs of each setting were made, oldest first."""
    rows = []
    for number, table in enumerate(tables, 1):
        groups: dict[tuple[str, str], list[Record]] = {}
        for record in (record for row in table.rows for record in row.records):
            version = f"{record.provenance.get('plastibench')}, protocol {record.spec.protocol}"
            groups.setdefault((version, str(record.provenance.get("commit"))), []).append(record)
        found = [_version_row(table, number, *key, records) for key, records in groups.items()]
        rows += sorted(found, key=lambda row: (row.first, row.commit))
    return rows


def _version_row(
    table: ResultTable, number: int, version: str, commit: str, records: Sequence[Record]
) -> VersionRow:
    days = sorted(str(record.provenance.get("finished") or "-")[:10] for record in records)
    ids = {one.id for row in table.rows if row.method == table.baseline for one in row.records}
    baseline = [one.metrics.average for one in records if one.id in ids and one.status == "done"]
    text = estimate_mean(baseline).text()
    setting = f"{number}. {records[0].spec.task.name}, {records[0].spec.model.name}"
    return VersionRow(setting, version, commit, days[0], days[-1], len(records), text)
