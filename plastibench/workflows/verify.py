"""Execute finished runs again and compare every number."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from plastibench.devices import get_device
from plastibench.errors import DataError, RequestError, unknown
from plastibench.plugins.file_reads import check_unchanged
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.data import load_checksum
from plastibench.runner.execute import execute
from plastibench.runner.worker import init_worker, keep_torch_settings
from plastibench.runner.workspace import Workspace
from plastibench.store import verifications
from plastibench.store.record import DATA_DIGITS, Record, other_data
from plastibench.store.record_diff import differ_in_data, differences, likely_causes
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.run_source import RunSource
from plastibench.store.verifications import Mark
from plastibench.workflows.kept_plugins import with_plugins_of_runs
from plastibench.workflows.run_logger import RunLogger
from plastibench.workflows.seed_spread import Spread, spread_around
from plastibench.workflows.verify_sample import Draw, check_runnable, draw_sample

Verdict = Literal["equal", "within spread", "different", "not repeated"]


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """Finished runs to execute again."""

    runs: Sequence[str] = ()
    """Ids, or beginnings of them."""
    workspace: Workspace
    device: str | None = None
    """None is the first device of the kind that the run was made on."""
    threads: int | None = None
    """CPU threads; None is as many as the run was made with."""
    records: Sequence[Path] = ()
    """Records files that hold the runs, in place of the home folder."""
    sample: Draw | None = None
    """Runs to draw, if none are named."""
    run_plugins: bool = False
    """Whether to execute source of plug-ins that the files hold: it is the code of whoever made them."""
    mark: bool = False
    """Whether to note the verdicts beside the files."""
    other_data: bool = False
    """Whether to execute runs on the data found here even if they were made on others."""

    @cached_property
    def source(self) -> RunSource:
        """Return where the runs are read from. Raises RequestError for a damaged records file."""
        return RecordedRuns.from_paths(self.records) if self.records else self.workspace.store


@dataclass(frozen=True)
class Verification:
    """A run and how its repetition differs."""

    record: Record
    differences: list[str]
    origin: str = ""
    """What differs in data, device, versions and code, with which equal bits are not promised."""
    repetition: Record | None = None
    """None if the run was not executed again, which it is not on other data."""
    spread: Spread | None = None
    """Of a repetition elsewhere that differs, if there are other seeds to judge it by."""

    @property
    def verdict(self) -> Verdict:
        """Return what the repetition shows; only where equal bits are not promised, the spread counts."""
        if self.repetition is None:
            return "not repeated"
        if not self.differences:
            return "equal"
        return "within spread" if self.spread is not None and self.spread.contains else "different"

    @property
    def same_training(self) -> bool:
        """Return whether a repetition that differs has the same last weights: only the test was another."""
        if self.repetition is None or not self.differences:
            return False
        first, second = (one.provenance.get("weights") for one in (self.record, self.repetition))
        return first is not None and first == second


def verify(request: VerifyRequest, callbacks: Sequence[RunCallback] = ()) -> list[Verification]:
    """Execute finished runs again, in a temporary folder, and compare them with their records.

    A run that was made on other data than those found is not executed, since its numbers could not be the
    same, unless that is asked for.
    Raises RequestError for a run that does not exist, or whose code has changed, and for one that needs
    source of a records file, unless that may be executed.
    """
    records = _chosen(request)
    callbacks = [RunLogger(), *callbacks]
    for callback in callbacks:
        callback.on_start(len(records), 0, 1)
    specs = [record.spec for record in records]
    workspace = with_plugins_of_runs(request.workspace, specs, request.source)
    results = []
    for record in records:
        results.append(_verify(record, request, workspace, callbacks))
        if request.mark:  # one by one: whoever interrupts a long sample keeps what was repeated
            save_marks(request.source.plugins_path(record.id).parent, results[-1:])
    return results


def _chosen(request: VerifyRequest) -> list[Record]:
    """Return the runs that are named, or a sample."""
    if request.mark and not request.records:
        raise RequestError("--mark writes beside a records file: name one with --records")
    if bool(request.runs) == (request.sample is not None):
        raise RequestError("name the runs to repeat, or give --sample N to draw some: one of the two")
    trusted = request.run_plugins or not request.records
    if request.sample is not None:
        registry = request.workspace.registry
        return draw_sample(request.source, registry, request.sample, trusted=trusted)
    records = [find_run(request.source, text) for text in request.runs]
    for record in records if request.records else ():
        check_runnable(request.source, request.workspace.registry, record, trusted)
    return records


def save_marks(folder: Path, results: Sequence[Verification]) -> None:
    """Note the verdicts beside the records files of a folder. Raises RequestError if it cannot be written."""
    repeated = [(one, one.repetition) for one in results if one.repetition is not None]
    marks = {one.record.id: Mark.of(one.verdict, one.record, again) for one, again in repeated}
    if marks:
        verifications.save(folder, marks)


def find_run(source: RunSource, prefix: str) -> Record:
    """Return the finished run whose id begins with `prefix`. Raises RequestError if there is not one."""
    ids = source.ids()
    matches = [run for run in ids if run.startswith(prefix)] if prefix else []
    if not matches:
        raise unknown("finished run", prefix, ids[:20])
    if len(matches) > 1:
        raise RequestError(
            f"run {prefix} is ambiguous: {len(matches)} ids begin so, such as {' and '.join(matches[:2])}"
        )
    record = source.read(matches[0])
    if record is None:
        raise RequestError(f"run {matches[0]} is damaged: {next(iter(source.damaged.values()))}")
    return record


def _verify(
    record: Record, request: VerifyRequest, workspace: Workspace, callbacks: Sequence[RunCallback]
) -> Verification:
    device, provenance = request.device or record.spec.device, record.provenance
    kind = get_device(device).device_type
    if kind != record.spec.device:
        raise RequestError(f"run {record.id} is one on {record.spec.device}: it cannot be verified on {kind}")
    with tempfile.TemporaryDirectory() as home:
        context = RunContext(
            replace(workspace, home=Path(home)),
            device,
            # As the first time. Old records do not name the kernels: those runs were not deterministic.
            threads=request.threads or provenance.get("threads"),
            deterministic=provenance.get("deterministic", False),
            compile=provenance.get("compiler") is not None,
        )
        found = load_checksum(record.spec, context)
        if record.data not in (None, found) and not request.other_data:
            difference = str(other_data("it was made", str(record.data), found))
            return Verification(record, [f"{difference}; --other-data runs it on these"])
        try:
            check_unchanged("it was made", record.files)
        except DataError as error:
            return Verification(record, [str(error)])
        with keep_torch_settings():
            init_worker(context)
            repetition = execute(record.spec, context, callbacks)
    for callback in callbacks:
        callback.on_run_end(repetition)
    differing = list(differences(record, repetition, ("in the record", "now")))
    origin = _origin(record, repetition)
    spread = spread_around(record, repetition, request.source) if differing and origin else None
    return Verification(record, differing, origin, repetition, spread)


def _origin(record: Record, repetition: Record) -> str:
    """Return what differs between two runs that may explain other numbers."""
    data = ""
    if differ_in_data(record, repetition):
        data = f"data {str(record.data)[:DATA_DIGITS]} and {str(repetition.data)[:DATA_DIGITS]}"
    return ", ".join(filter(None, (data, likely_causes(record, repetition))))
