"""Execute finished runs again and compare every number."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from plastibench.devices import get_device
from plastibench.errors import DataError, RequestError, unknown
from plastibench.plugins.file_reads import check_unchanged
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.context import RunContext
from plastibench.runner.data import load_checksum
from plastibench.runner.execute import execute
from plastibench.runner.worker import init_worker, keep_num_threads
from plastibench.runner.workspace import Workspace
from plastibench.store.record import Record, other_data
from plastibench.store.record_diff import differences, likely_causes
from plastibench.store.run_store import Store
from plastibench.workflows.kept_plugins import with_plugins_of_runs
from plastibench.workflows.run_logger import RunLogger


@dataclass(frozen=True, kw_only=True)
class VerifyRequest:
    """Finished runs to execute again."""

    runs: Sequence[str]
    """Ids, or beginnings of them."""
    workspace: Workspace
    device: str | None = None
    """None is the first device of the kind that the run was made on."""
    threads: int | None = None
    """CPU threads; None is as many as the run was made with."""


@dataclass(frozen=True)
class Verification:
    """A run and how its repetition differs."""

    record: Record
    differences: list[str]
    origin: str = ""
    """What differs in device, versions and code, with which equal bits are not promised; may be empty."""
    repeated: bool = True
    """Whether the run was executed again, which it is not on other data."""


def verify(request: VerifyRequest, callbacks: Sequence[RunCallback] = ()) -> list[Verification]:
    """Execute finished runs again, in a temporary folder, and compare them with their records.

    A run that was made on other data than those found is not executed: its numbers could not be the same.
    Raises RequestError for a run that does not exist, or whose code has changed.
    """
    records = [find_run(request.workspace.store, text) for text in request.runs]
    callbacks = [RunLogger(), *callbacks]
    for callback in callbacks:
        callback.on_start(len(records), 0, 1)
    workspace = with_plugins_of_runs(request.workspace, [record.spec for record in records])
    request = replace(request, workspace=workspace)
    return [_verify(record, request, callbacks) for record in records]


def find_run(store: Store, prefix: str) -> Record:
    """Return the finished run whose id begins with `prefix`. Raises RequestError if there is not one."""
    ids = store.ids()
    matches = [run for run in ids if run.startswith(prefix)] if prefix else []
    if not matches:
        raise unknown("finished run", prefix, ids[:20])
    if len(matches) > 1:
        raise RequestError(
            f"run {prefix} is ambiguous: {len(matches)} ids begin so, such as {' and '.join(matches[:2])}"
        )
    record = store.read(matches[0])
    if record is None:
        raise RequestError(f"run {matches[0]} is damaged: {next(iter(store.damaged.values()))}")
    return record


def _verify(record: Record, request: VerifyRequest, callbacks: Sequence[RunCallback]) -> Verification:
    device, provenance = request.device or record.spec.device, record.provenance
    kind = get_device(device).device_type
    if kind != record.spec.device:
        raise RequestError(f"run {record.id} is one on {record.spec.device}: it cannot be verified on {kind}")
    with tempfile.TemporaryDirectory() as home:
        context = RunContext(
            replace(request.workspace, home=Path(home)),
            device,
            # As the first time. Old records do not name the kernels: those runs were not deterministic.
            threads=request.threads or provenance.get("threads"),
            deterministic=provenance.get("deterministic", False),
        )
        found = load_checksum(record.spec, context)
        if record.data not in (None, found):
            difference = str(other_data("it was made", str(record.data), found))
            return Verification(record, [difference], repeated=False)
        try:
            check_unchanged("it was made", record.files)
        except DataError as error:
            return Verification(record, [str(error)], repeated=False)
        with keep_num_threads():
            init_worker(context)
            repetition = execute(record.spec, context, callbacks)
    for callback in callbacks:
        callback.on_run_end(repetition)
    differing = list(differences(record, repetition, ("in the record", "now")))
    return Verification(record, differing, likely_causes(record, repetition))
