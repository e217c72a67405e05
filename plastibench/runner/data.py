"""The data of runs: loaded once before any run, and compared with the data of earlier runs."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from plastibench.data.augment import Compose
from plastibench.data.fetch import no_downloads
from plastibench.errors import DataError, RequestError, explain
from plastibench.experiments.spec import Spec, build, by_condition
from plastibench.plugins.data_checksum import data_checksum
from plastibench.plugins.file_reads import check_unchanged
from plastibench.plugins.stages import stages_of
from plastibench.plugins.task import Stage, Task
from plastibench.runner.checkpointing import RunHistory
from plastibench.runner.context import RunContext
from plastibench.store.record import Record, other_data
from plastibench.store.tuned_settings import TunedSettings
from plastibench.training.callbacks import IncompatibleCheckpointError

Checksums = Mapping[str, str]
"""Checksums of the data by condition."""


def prepare_data(specs: Sequence[Spec], context: RunContext, finished: Sequence[Record] = ()) -> Checksums:
    """Load the data of each condition once before any run, so that a download happens once and is shown.

    Return the checksums. What only `finished` runs were made on is not downloaded, and may be missing.
    Raises DataError if other data are missing, or if a run was finished or stopped on other data than those
    found; RequestError if there are too few.
    """
    checksums = {name: load_checksum(spec, context) for name, spec in by_condition(specs).items()}
    for name, spec in {record.condition_id: record.spec for record in finished}.items():
        if name not in checksums:
            with suppress(Exception), no_downloads():  # whatever a plug-in raises if its data are not here
                checksums[name] = load_checksum(spec, context)
    check_finished(finished, checksums)
    _check("stopped", [(spec.condition_id, spec, _stopped_on(spec, context)) for spec in specs], checksums)
    return checksums


def load_checksum(spec: Spec, context: RunContext) -> str:
    """Return the checksum of a run's data. Raises DataError if they are missing, RequestError if too few."""
    task, _ = build(spec, context.registry)
    where = context.data_context
    hint = f"the data folder is {where.data}: choose another with --data or PLASTIBENCH_DATA"
    try:
        first = next(stages_of(task, spec.seed, where))
        _check_augmentation(task, first)
        return data_checksum(task, first, where, held_out_test=spec.held_out_test)
    except OSError as error:
        raise DataError(f"data of task {spec.task.name} cannot be read: {explain(error)}; {hint}") from error
    except DataError as error:
        says_where = any(words in str(error) for words in ("--data", "current folder"))
        raise error if says_where else DataError(f"{error}; {hint}") from error


def check_finished(records: Iterable[Record], checksums: Checksums) -> None:
    """Raise DataError if runs were made on other data, or with other files, than those found."""
    records = list(records)
    for record in records:
        check_unchanged(f"run {record.id} ({record.spec.name}) was made", record.files)
    _check("made", [(record.condition_id, record.spec, record.data) for record in records], checksums)


def check_tuned(
    specs: Iterable[Spec], tuned: Mapping[str, TunedSettings], checksums: Checksums, context: RunContext
) -> None:
    """Raise DataError if settings, given by variant, were chosen on other data than those found."""
    for spec in {spec.variant_id: spec for spec in specs if spec.variant_id in tuned}.values():
        origin, found = tuned[spec.variant_id], checksums.get(spec.condition_id)
        if origin.data is None or found is None or origin.data == found:
            continue
        held_out = load_checksum(replace(spec, held_out_test=True), context)  # as its trials were
        if origin.data != held_out:
            raise other_data(f"study {origin.study} was made", origin.data, held_out)


def _check_augmentation(task: Task, stage: Stage) -> None:
    """Raise RequestError if the recipe asks for an augmentation that the data do not have."""
    if task.recipe.augment and getattr(stage.train, "augmentation", None) == Compose():
        raise RequestError(f"augment=true means nothing for {type(task).__name__}: it has no augmentation")


def _stopped_on(spec: Spec, context: RunContext) -> str | None:
    """Return the checksum of the data that a run was stopped on, or None if it has no usable checkpoint.

    Raises DataError if a file that its plug-ins had read has changed.
    """
    checkpoint = context.checkpoint(spec.id)
    if not checkpoint.exists():
        return None
    try:
        history = RunHistory.load(checkpoint, lambda _: None)
    except IncompatibleCheckpointError:
        return None
    check_unchanged(f"run {spec.id} ({spec.name}) was stopped", history.files)
    return history.data


def _check(what: str, runs: Sequence[tuple[str, Spec, str | None]], checksums: Checksums) -> None:
    """Raise DataError if runs were made or stopped on other data than those that are here."""
    others = [
        (spec, data, checksums[condition])
        for condition, spec, data in runs
        if data is not None and checksums.get(condition, data) != data
    ]
    if others:
        spec, data, found = others[0]
        more = f" (and {len(others) - 1} more)" if len(others) > 1 else ""
        raise other_data(f"run {spec.id} ({spec.name}){more} was {what}", data, found)
