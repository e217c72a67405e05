"""Check a records file that somebody submits, and add its runs to a board."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plastibench.analysis.tables.columns import count_text
from plastibench.analysis.tables.table import ResultRow, ResultTable, build_tables
from plastibench.errors import RequestError, count
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.records_file import Board, RecordsFile, read_records, write_records

MIN_SEEDS = 5
"""Fewest seeds of a row."""
GOOD_SEEDS = 10
"""Seeds from which on a board's corrected tests can find a difference, and intervals are bootstrapped."""


@dataclass(frozen=True)
class SubmissionCheck:
    """What was found of a submission; it is accepted if there are no problems."""

    problems: list[str]
    notes: list[str]
    new: Sequence[str]
    """Ids of the runs that the board does not have."""
    changes: list[str]
    """Rows of the board that are added or change, as a table in Markdown."""

    def markdown(self) -> str:
        """Return a comment for a pull request."""
        lines = [
            f"**{'Not accepted' if self.problems else 'Checks passed'}**: {count(len(self.new), 'new run')}"
        ]
        lines += ["", *[f"- problem: {_escaped(text)}" for text in self.problems]]
        lines += [f"- {_escaped(text)}" for text in self.notes]
        return "\n".join([*lines, *(["", *self.changes] if self.changes else []), ""])


def check_submission(path: Path, board: Path | None = None) -> SubmissionCheck:
    """Check a file by itself, and against the board of its name, if there is one.

    Raises RequestError for a file that is damaged or was changed.
    """
    submitted = read_records(path)
    present = read_records(board) if board is not None and board.exists() else None
    tables = _tables(submitted.board, submitted, present)
    problems, notes = list[str](), list[str]()
    for table in tables:
        of_table = _own_rows(table, submitted)
        problems += [*_missing_references(table, of_table), *_few_seeds(of_table)]
        notes += _notes(of_table)
    problems += _unknown_origin(submitted)
    old = {record.id: record for record in present.runs} if present is not None else {}
    problems += _conflicts(submitted, old)
    new = [record.id for record in submitted.runs if record.id not in old]
    if not new:
        problems.append("every run is on the board already: nothing new")
    before = {} if present is None else _rows(_tables(submitted.board, present))
    changes = _changes(before, _rows(tables))
    return SubmissionCheck(problems, notes, new, changes)


def add_to_board(path: Path, board: Path) -> int:
    """Add the runs of a file to a board's; return how many are new. Raises RequestError for a conflict."""
    submitted = read_records(path)
    present = read_records(board) if board.exists() else replace(submitted, runs=(), plugins={}, tuned={})
    old = {record.id: record for record in present.runs}
    conflict = next(_conflicts(submitted, old), None)
    if conflict is not None:
        raise RequestError(conflict)
    new = [record for record in submitted.runs if record.id not in old]
    if new:
        write_records(board, _united(present, replace(submitted, runs=tuple(new))))
    return len(new)


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


def _missing_references(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what the rows cannot be paired with: it must be in the file, or on the board."""
    if not rows:
        return
    yield from table.missing.values()
    for name in table.references:
        seeds = {run.seed for row in table.rows if row.method == name for run in row.metrics}
        for row in rows:
            missing = sorted({record.spec.seed for record in row.records} - seeds)
            if missing:
                shown = ", ".join(map(str, missing))
                yield f"{row.method}: no run of {name} with seed {shown} to pair with"


def _few_seeds(rows: Sequence[ResultRow]) -> Iterator[str]:
    few = [f"{row.method} ({len(row.records)})" for row in rows if len(row.records) < MIN_SEEDS]
    if few:
        yield f"a row has at least {MIN_SEEDS} seeds, which these have not: {', '.join(few)}"


def _notes(rows: Sequence[ResultRow]) -> Iterator[str]:
    few = [row.method for row in rows if MIN_SEEDS <= len(row.records) < GOOD_SEEDS]
    if few:
        yield f"{', '.join(few)}: fewer than {GOOD_SEEDS} seeds, so no corrected test may find a difference"
    for row in rows:
        if row.num_diverged:
            yield f"{row.method}: {count_text(row)}, which no average includes"
    tuned = {row.method for row in rows if tuned_settings.from_record(row.records[0]) is not None}
    if tuned:
        yield f"settings chosen by a tuning: {', '.join(sorted(tuned))}"


def _unknown_origin(submitted: RecordsFile) -> Iterator[str]:
    for field in ("data", "torch", "plastibench", "device", "weights"):
        missing = [record for record in submitted.runs if not record.provenance.get(field)]
        if missing:
            yield f"no {field} in the provenance of {count(len(missing), 'run')}, such as {missing[0].id}"


def _conflicts(submitted: RecordsFile, old: dict[str, Record]) -> Iterator[str]:
    for record in submitted.runs:
        if record.id in old:
            labels = ("on the board", "submitted")
            for difference in list(differences(old[record.id], record, labels))[:1]:
                yield f"run {record.id} ({record.spec.name}) is on the board with other numbers: {difference}"


def _rows(tables: Sequence[ResultTable]) -> dict[tuple[str, str], ResultRow]:
    return {(table.title, row.method): row for table in tables for row in table.rows}


def _changes(before: dict[tuple[str, str], ResultRow], after: dict[tuple[str, str], ResultRow]) -> list[str]:
    """Return a table in Markdown of the rows that are added or change."""
    lines = []
    for (title, method), row in sorted(after.items()):
        old = before.get((title, method))
        was, now = ("-" if one is None else _accuracy(one) for one in (old, row))
        if was != now:
            lines.append(f"| {' | '.join(map(_escaped, (title, method, was, now)))} |")
    head = ["| setting | method | average accuracy % before | after |", "| --- | --- | ---: | ---: |"]
    return [*head, *lines] if lines else []


def _accuracy(row: ResultRow) -> str:
    return f"{row.average.text()} (n = {count_text(row)})"


def _escaped(text: str) -> str:
    """Return a text that is one in Markdown, whatever it holds: no HTML, links or mentions of people."""
    for letter in "&<>@|":
        text = text.replace(letter, f"&#{ord(letter)};")
    return " ".join(text.replace("](", "]&#40;").split())
