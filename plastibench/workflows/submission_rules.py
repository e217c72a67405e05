"""The rules that a submitted records file is held to; docs/submitting.md lists them with their numbers.

Each function yields sentences that name the run or the row, and what is wrong with it. Nothing of the file is
executed.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from plastibench.analysis.stats.significance import ALPHA, p_equation
from plastibench.analysis.tables.columns import count_text
from plastibench.analysis.tables.table import ResultRow, ResultTable
from plastibench.errors import RequestError, count, explain, shortened
from plastibench.experiments.spec import Spec, build, canonical
from plastibench.plugins.fields import settings_of
from plastibench.plugins.plugin import Plugin, plugin_errors
from plastibench.plugins.registry import Registry
from plastibench.store import tuned_settings
from plastibench.store.record import Record
from plastibench.store.record_diff import differences
from plastibench.store.record_rules import moment
from plastibench.store.records_file import Board, RecordsFile
from plastibench.workflows.submit import CHANGED, check_uniform, is_shipped

MIN_SEEDS = 5
"""Fewest seeds of a row."""
GOOD_SEEDS = 10
"""Seeds from which on a board's corrected tests can find a difference."""
ORIGIN = ("data", "torch", "plastibench", "device", "weights")
"""Fields of the provenance that every run has."""
CLOCKS = timedelta(days=1)
"""How far two clocks, and what they take for the day, may be apart."""
MAX_SHOWN = 5
"""Seeds that a sentence names."""


def conflicts(submitted: RecordsFile, present: RecordsFile | None) -> Iterator[str]:
    """Yield what a file says otherwise than the board does."""
    if present is None:
        return
    old = {record.id: record for record in present.runs}
    for record in submitted.runs:
        if record.id in old:
            labels = ("on the board", "submitted")
            for difference in list(differences(old[record.id], record, labels))[:1]:
                yield f"{_name(record)} is on the board with other numbers: {difference}"
    variants = {record.variant_id: record for record in present.runs}
    for variant, origin in submitted.tuned.items():
        known = present.tuned.get(variant)
        if variant in variants and (known is None or tuned_settings.united(known, origin) is None):
            row = variants[variant].spec.method.name
            yield f"study {origin.study} is said to have chosen the settings of {row}, which are on the board"


def unnamed_references(board: Board) -> Iterator[str]:
    """Yield what a board has not named that its rows are compared with."""
    for role, name in (("baseline", board.baseline), ("cost reference", board.cost_reference)):
        if name is None:
            yield f"the file names no {role}: pack the runs with `plastibench submit SUITE`"


def missing_references(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what rows cannot be paired with: it must be in the file, or on the board."""
    if not rows:
        return
    yield from table.missing.values()
    for name in table.references:
        seeds = {run.seed for row in table.rows if row.method == name for run in row.metrics}
        for row in rows:
            missing = sorted({record.spec.seed for record in row.records} - seeds)
            if missing:
                yield f"{row.method}: no run of {name} with seed {_seeds(missing)} to pair with"


def few_seeds(rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield the rows with too few seeds."""
    few = [f"{row.method} ({len(row.records)})" for row in rows if len(row.records) < MIN_SEEDS]
    if few:
        yield f"a row has at least {MIN_SEEDS} seeds, which these have not: {', '.join(few)}"


def chosen_seeds(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield the rows that leave out seeds: of ten runs the best five say nothing."""
    references = [row for row in table.rows if row.method in table.references]
    first = min((record.spec.seed for row in references for record in row.records), default=0)
    for row in rows:
        seeds = {record.spec.seed for record in row.records}
        wanted = range(first, first + len(seeds))
        missing = [seed for seed in wanted if seed not in seeds and seed < max(seeds)]
        if missing:
            yield (
                f"{row.method}: no run with seed {_seeds(missing)}: a row has all seeds from {first} on, so "
                "that none is chosen by its result (a diverged run stays in the file)"
            )


def unknown_origin(submitted: RecordsFile, now: datetime | None = None) -> Iterator[str]:
    """Yield what the provenance of runs lacks, and what nobody else can have."""
    for field in ORIGIN:
        missing = [record for record in submitted.runs if not record.provenance.get(field)]
        if missing:
            yield f"no {field} in the provenance of {count(len(missing), 'run')}, such as {missing[0].id}"
    latest = (now or datetime.now(UTC)) + CLOCKS
    for record in submitted.runs:
        if str(record.provenance.get("commit") or "").endswith(CHANGED):
            yield f"{_name(record)} was made with uncommitted changes ({record.provenance['commit']})"
            break
    for record in submitted.runs:
        finished = moment(record.provenance.get("finished"))
        if finished is not None and finished > latest:
            yield f"{_name(record)} was finished on {finished:%Y-%m-%d}, which is still to come"
            break


def mixed_runs(submitted: RecordsFile) -> Iterator[str]:
    """Yield the first two runs of a setting that were made under different conditions."""
    try:
        check_uniform(submitted.runs)
    except RequestError as error:
        yield explain(error)


def source_problems(submitted: RecordsFile, registry: Registry) -> Iterator[str]:
    """Yield plug-ins of which the file has no source, another one, or one with the name of a shipped one."""
    for (kind, name, code), plugin in submitted.plugins.items():
        if is_shipped(registry, kind, name):
            yield f"the file has source of {kind} {name}, which is the name of a shipped one: rename yours"
        elif (found := _digest(plugin)) != code:
            yield f"the source of {kind} {name} is not that of its runs: its digest is {found}, theirs {code}"
    lacking: dict[tuple[str, str, str], Record] = {}
    for record in submitted.runs:
        for kind, part in record.spec.all_parts():
            key = (kind, part.name, part.code)
            if key not in submitted.plugins and not is_shipped(registry, kind, part.name):
                lacking.setdefault(key, record)
    for (kind, name, code), record in lacking.items():
        yield f"{_name(record)} needs the source of {kind} {name} (code {code}), which is not in the file"


def strange_settings(submitted: RecordsFile, registry: Registry) -> Iterator[str]:
    """Yield runs whose settings no shipped plug-in has, or writes in another way.

    What is not shipped with the same code is left alone: it would have to be executed.
    """
    for record in {record.variant_id: record for record in submitted.runs}.values():
        spec = record.spec
        if all(_is_at_hand(registry, kind, part.name, part.code) for kind, part in spec.parts):
            try:
                with plugin_errors("making it"):
                    difference = _setting_difference(spec, registry)
            except RequestError as error:
                difference = explain(error)
            if difference:
                yield f"{_name(record)} cannot be made: {difference}"


def _setting_difference(spec: Spec, registry: Registry) -> str:
    """Return what the settings of a description would be if the plug-ins wrote them; empty if as they are."""
    task, method = build(spec, registry)
    for name, made, given in (
        (spec.method.name, settings_of(method), spec.method.settings),
        ("the recipe", settings_of(task.recipe), spec.recipe),
        (spec.model.name, settings_of(task.architecture), spec.model.settings),
    ):
        if canonical(made) != canonical(given):
            return f"the settings of {name} are {canonical(made)}, not {canonical(given)}"[:400]
    return ""


def remarks(table: ResultTable, rows: Sequence[ResultRow]) -> Iterator[str]:
    """Yield what a reader should know of rows: few seeds, diverged runs, tunings, and what the test says."""
    few = [row.method for row in rows if MIN_SEEDS <= len(row.records) < GOOD_SEEDS]
    if few:
        yield f"{', '.join(few)}: fewer than {GOOD_SEEDS} seeds, so no corrected test may find a difference"
    for row in rows:
        if row.num_diverged:
            yield f"{row.method}: {count_text(row)}, which no average includes"
    tuned = {row.method for row in rows if tuned_settings.from_record(row.records[0]) is not None}
    if tuned:
        yield f"settings chosen by a tuning: {', '.join(sorted(tuned))}"
    for row in rows:
        gain = row.gains.get(table.baseline or "")
        if gain is not None and gain.estimate.n > 1:
            sign = "gain" if gain.estimate.mean > 0 else "loss"
            found = f"a {sign}" if gain.p < ALPHA else "no difference that the corrected test finds"
            yield (
                f"{row.method}: {gain.estimate.interval_text()} points over {table.baseline}, "
                f"{p_equation(gain.p)} after correction: {found}"
            )


def _digest(plugin: Plugin) -> str:
    """Return the digest of a plug-in's code, or why it has none. Nothing is executed."""
    try:
        return plugin.digest()
    except (RecursionError, MemoryError, ValueError) as error:
        return f"unknown ({explain(error)})"


def _is_at_hand(registry: Registry, kind: str, name: str, code: str) -> bool:
    return is_shipped(registry, kind, name) and registry.has(kind, name, code)


def _name(record: Record) -> str:
    return f"run {record.id} ({record.spec.name})"


def _seeds(seeds: Iterable[int]) -> str:
    return shortened([str(seed) for seed in seeds], MAX_SHOWN)
