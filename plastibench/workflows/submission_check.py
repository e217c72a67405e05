"""Check a records file that somebody submits, and add its runs to a board."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plastibench.analysis.tables.columns import count_text
from plastibench.analysis.tables.table import ResultRow, ResultTable, build_tables
from plastibench.errors import RequestError, count
from plastibench.plugins.registry import Registry
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.record_rules import check_lengths
from plastibench.store.records_file import Board, RecordsFile, read_records, write_records
from plastibench.workflows import submission_rules as rules
from plastibench.workflows import submission_tunings as tunings


@dataclass(frozen=True)
class SubmissionCheck:
    """What was found of a submission; it is accepted if there are no problems."""

    problems: list[str]
    notes: list[str]
    new: Sequence[str]
    """Ids of the runs that the board does not have."""
    num_rows: int
    """Rows that these runs belong to."""
    changes: list[str]
    """Rows of the board that are added or change, as a table in Markdown."""

    def markdown(self) -> str:
        """Return a comment for a pull request."""
        lines = [
            f"**{'Not accepted' if self.problems else 'Checks passed'}**: {count(len(self.new), 'new run')}"
        ]
        lines += ["", *[f"- problem: {literal(text)}" for text in self.problems]]
        lines += [f"- {literal(text)}" for text in self.notes]
        return "\n".join([*lines, *(["", *self.changes] if self.changes else []), ""])


def check_submission(path: Path, board: Path | None = None) -> SubmissionCheck:
    """Check a file by itself, and against the board of its name, if there is one.

    The board's own references count, not those that the file names. Raises RequestError for a file that is
    damaged or was changed.
    """
    submitted = read_records(path)
    present = read_records(board) if board is not None and board.exists() else None
    check_lengths([*(() if present is None else present.runs), *submitted.runs])
    references = submitted.board if present is None else present.board
    tables = _tables(references, submitted, present)
    before = [] if present is None else _tables(references, present)
    old = set() if present is None else {record.id for record in present.runs}
    new = [record for record in submitted.runs if record.id not in old]
    problems, notes = _of_file(submitted, present, references), _of_board(before, tables, present, references)
    for table in tables:
        rows = _own_rows(table, submitted)
        problems += rules.missing_references(table, rows)
        problems += [*rules.few_seeds(rows), *rules.chosen_seeds(table, rows)]
        problems += tunings.unequal_tunings(table, rows)
        notes += rules.remarks(table, rows)
    if not new:
        problems.append("every run is on the board already: nothing new")
    changes = _changes(before, tables)
    num_rows = len({record.variant_id for record in new})
    return SubmissionCheck(problems, notes, [record.id for record in new], num_rows, changes)


def add_to_board(path: Path, board: Path) -> int:
    """Add the runs of a file to a board's; return how many are new. Raises RequestError for a conflict."""
    submitted = read_records(path)
    present = read_records(board) if board.exists() else replace(submitted, runs=(), plugins={}, tuned={})
    conflict = next(rules.conflicts(submitted, present), None)
    if conflict is not None:
        raise RequestError(conflict)
    old = {record.id for record in present.runs}
    new = [record for record in submitted.runs if record.id not in old]
    if new:
        write_records(board, _united(present, replace(submitted, runs=tuple(new))))
    return len(new)


def literal(text: str) -> str:
    """Return a text that Markdown shows as it is, whatever it holds: no HTML, links or mentions of people."""
    return f"`{' '.join(text.replace('`', chr(39)).replace('|', chr(166)).split())}`"


def _of_file(submitted: RecordsFile, present: RecordsFile | None, references: Board) -> list[str]:
    registry = Registry()
    checks: Sequence[Callable[[], Iterator[str]]] = (
        lambda: rules.unnamed_references(references),
        lambda: rules.conflicts(submitted, present),
        lambda: rules.unknown_origin(submitted),
        lambda: rules.mixed_runs(submitted),
        lambda: tunings.strange_tunings(submitted),
        lambda: rules.source_problems(submitted, registry),
        lambda: rules.strange_settings(submitted, registry),
    )
    return [problem for check in checks for problem in check()]


def _of_board(
    before: Iterable[ResultTable],
    tables: Iterable[ResultTable],
    present: RecordsFile | None,
    references: Board,
) -> list[str]:
    """Return what is new beside rows: a board, or a setting."""
    if present is None:
        return [f"{references.name} would be a new board, compared with {references.baseline}"]
    known = {_setting(table) for table in before}
    new = (table.title for table in tables if _setting(table) not in known)
    return [f"a setting that is not on the board: {title}" for title in new]


def _setting(table: ResultTable) -> str:
    """Return what identifies a setting: its title may change with what else is on the board."""
    return tuned_settings.condition_id(table.rows[0].records[0])


def _united(first: RecordsFile, second: RecordsFile) -> RecordsFile:
    plugins, tuned = {**second.plugins, **first.plugins}, {**second.tuned, **first.tuned}
    return RecordsFile(first.board, (*first.runs, *second.runs), plugins, tuned, first.refused)


def _tables(board: Board, *files: RecordsFile | None) -> list[ResultTable]:
    """Return the tables of files, the first of which counts for a run that is in several."""
    records: dict[str, Record] = {}
    for content in filter(None, files):
        found = tuned_settings.attach(content.runs, content.tuned)
        records = {**{record.id: record for record in found}, **records}
    return build_tables(records.values(), board.baseline, board.cost_reference)


def _own_rows(table: ResultTable, submitted: RecordsFile) -> list[ResultRow]:
    """Return the rows that have a run of the submission."""
    ids = {record.id for record in submitted.runs}
    return [row for row in table.rows if any(record.id in ids for record in row.records)]


def _rows(tables: Iterable[ResultTable]) -> dict[tuple[str, str], tuple[str, ResultRow]]:
    """Return the title and the row of each setting and method."""
    return {(_setting(table), row.method): (table.title, row) for table in tables for row in table.rows}


def _changes(before: Iterable[ResultTable], after: Iterable[ResultTable]) -> list[str]:
    """Return a table in Markdown of the rows that are added or change."""
    old, lines = _rows(before), []
    for key, (title, row) in sorted(_rows(after).items(), key=lambda item: item[0]):
        was, now = _accuracy(old[key][1]) if key in old else "-", _accuracy(row)
        if was != now:
            lines.append(f"| {' | '.join(map(literal, (title, key[1], was, now)))} |")
    head = ["| setting | method | average accuracy % before | after |", "| --- | --- | ---: | ---: |"]
    return [*head, *lines] if lines else []


def _accuracy(row: ResultRow) -> str:
    return f"{row.average.text()} (n = {count_text(row)})"
