"""Pack one's own finished runs into a records file that somebody else can check."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plastibench.errors import RequestError, count
from plastibench.experiments.spec import Spec
from plastibench.plugins.plugin import Plugin
from plastibench.plugins.registry import Registry
from plastibench.store import tuned_settings, verifications
from plastibench.store.plugin_lines import PluginKey
from plastibench.store.record import Record
from plastibench.store.record_rules import check_record
from plastibench.store.records_file import SUFFIX, Board, RecordsFile, board_name, write_records
from plastibench.store.run_source import RunSource
from plastibench.store.run_status import started_specs
from plastibench.store.run_store import Store
from plastibench.tuning.recount import recount
from plastibench.workflows.finished_runs import FinishedRuns, finished_runs
from plastibench.workflows.request import Selection
from plastibench.workflows.selected_specs import specs_of_tasks

logger = logging.getLogger(__name__)

DEFAULT_NAME = "runs"
"""Of the file of a whole home folder."""
UNIFORM = ("data", "plastibench", "torch", "threads", "devices", "deterministic", "compiler")
"""Fields of the provenance that all runs of a setting share in a file."""
CHANGED = "+changes"
"""The end of the commit of a run that was made with files that no commit has."""


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """Finished runs to pack."""

    selection: Selection
    path: Path | None = None
    """The file; None is named after the suite, in the current folder."""
    finished_only: bool = False
    """Whether to leave out runs that are not finished, rather than to refuse."""


@dataclass(frozen=True)
class Submission:
    """What was packed."""

    path: Path
    content: RecordsFile
    num_bytes: int


def submit(request: SubmitRequest) -> Submission:
    """Pack the finished runs of a suite, of a grid, or of the whole home folder.

    Raises RequestError if no run is finished, and for runs that are unfinished, damaged, made with
    uncommitted changes or under different conditions, or that keep no source of a plug-in that is not
    shipped.
    """
    selection, runs = request.selection, finished_runs(request.selection)
    if runs.damaged:
        path, reason = next(iter(runs.damaged.items()))
        raise RequestError(f"run file {path} is damaged ({reason}): `plastibench run` makes the run again")
    records = [record for record in runs.records if not record.spec.held_out_test]
    if len(records) < len(runs.records):
        logger.info("left out: %s of a tuning", count(len(runs.records) - len(records), "run"))
    if not request.finished_only:
        _check_finished(selection, records)
    _check_readable(records)
    _check_clean(records)
    check_uniform(records)
    name = _name(request)
    path = request.path or Path(name + SUFFIX)
    content = _content(name, selection, replace(runs, records=records))
    write_records(path, content)
    return Submission(path, content, path.stat().st_size)


def _name(request: SubmitRequest) -> str:
    if not request.selection.is_empty:
        return board_name(request.selection.resolved_suite.name)
    return DEFAULT_NAME if request.path is None else board_name(request.path.name.removesuffix(SUFFIX))


def _content(name: str, selection: Selection, runs: FinishedRuns) -> RecordsFile:
    source, registry = selection.source, selection.workspace.registry
    plugins = {
        key: plugin for record in runs.records for key, plugin in _plugins(source, registry, record.spec)
    }
    variants = {record.variant_id for record in runs.records}
    tuned = {variant: one for variant, one in source.tuned_settings().items() if variant in variants}
    tuned = recount(source.home, tuned) if isinstance(source, Store) else tuned
    board = Board(name, runs.references.baseline, runs.references.cost_reference)
    bare = tuple(_bare(record) for record in runs.records)
    refused = {(one.spec.condition_id, one.spec.method.name): one for one in runs.refused}
    return RecordsFile(board, bare, plugins, tuned, tuple(refused.values()))


def _bare(record: Record) -> Record:
    """Return a record as its run file has it, without what was noted beside it."""
    noted = (tuned_settings.KEY, verifications.KEY)
    return replace(record, provenance={k: v for k, v in record.provenance.items() if k not in noted})


def _check_finished(selection: Selection, records: Sequence[Record]) -> None:
    """Raise RequestError if a run that was asked for, or begun, is not finished."""
    if selection.records:
        return
    store = selection.workspace.store
    wanted = started_specs(store) if selection.is_empty or selection.is_of_tasks else selection.specs
    wanted = specs_of_tasks(selection, wanted) if selection.is_of_tasks else wanted
    finished = {record.id for record in records}
    missing = [spec for spec in wanted if spec.id not in finished and not spec.held_out_test]
    if missing:
        raise RequestError(
            f"{len(missing)} of {count(len(wanted), 'run')} are not finished, such as {missing[0].name}: "
            "`plastibench run` finishes them, --finished-only leaves them out"
        )


def _check_readable(records: Iterable[Record]) -> None:
    """Raise RequestError for a run that nobody would read from a file."""
    for record in records:
        try:
            check_record(_bare(record))
        except ValueError as error:
            raise RequestError(f"run {record.id} ({record.spec.name}) cannot be packed: {error}") from error


def _check_clean(records: Iterable[Record]) -> None:
    for record in records:
        commit = str(record.provenance.get("commit") or "")
        if commit.endswith(CHANGED):
            raise RequestError(
                f"run {record.id} ({record.spec.name}) was made with uncommitted changes of plastibench "
                f"({commit}), which nobody else has: commit or undo them, and run it again in another home"
            )


def check_uniform(records: Iterable[Record]) -> None:
    """Raise RequestError for runs of a setting that were made under different conditions."""
    first: dict[tuple[str, str], tuple[object, str]] = {}
    codes: dict[tuple[str, ...], tuple[str, str]] = {}
    for record in records:
        setting, run = record.condition_id, f"run {record.id} ({record.spec.name})"
        for field in UNIFORM:
            value = record.provenance.get(field)
            usual, other = first.setdefault((setting, field), (value, run))
            if value != usual:
                raise _mixed(field, usual, other, value, run)
        for kind, part in record.spec.all_parts():
            code, other = codes.setdefault((kind, part.name), (part.code, run))
            if part.code != code:
                raise _mixed(f"code of {kind} {part.name}", code, other, part.code, run)


def _mixed(what: str, usual: object, other: str, value: object, run: str) -> RequestError:
    return RequestError(
        f"the runs are mixed: {what} is {usual} in {other} and {value} in {run}; name a suite, methods or "
        "settings, or submit them apart"
    )


def _plugins(source: RunSource, registry: Registry, spec: Spec) -> Iterator[tuple[PluginKey, Plugin]]:
    """Yield the plug-ins of a run that are not shipped. Raises RequestError if one is not at hand."""
    kept = {(plugin.kind, plugin.name): plugin for plugin in source.kept_plugins(spec.id)}
    for kind, part in spec.all_parts():
        plugin = kept.get((kind, part.name))
        if plugin is not None and plugin.digest() == part.code:
            yield (kind, part.name, part.code), plugin
        elif plugin is not None:
            raise RequestError(
                f"the source of {kind} {part.name} in {source.plugins_path(spec.id)} is not that of the run: "
                "it, or a shipped plug-in that it imports, has changed; run it again"
            )
        elif not is_shipped(registry, kind, part.name):
            raise RequestError(
                f"run {spec.id} ({spec.name}) keeps no source of {kind} {part.name}: run it again"
            )


def is_shipped(registry: Registry, kind: str, name: str) -> bool:
    """Return whether a plug-in of a name comes with plastibench, whatever its code."""
    return name in registry.names(kind) and registry.get(kind, name).path is not None
