"""Execute one run: resume it from its checkpoint, train it stage by stage, write its record."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from plastibench.errors import count, shortened
from plastibench.experiments.spec import Spec, build, build_probes, own_plugins
from plastibench.plugins.file_reads import check_unchanged
from plastibench.plugins.plugin import Plugin
from plastibench.runner.assignment import Assignment
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.checkpointing import RunCheckpointer, RunHistory
from plastibench.runner.context import RunContext
from plastibench.runner.events import (
    Emit,
    EpochEnded,
    RunLogged,
    RunStarted,
    StageEnded,
    StageRestored,
    notify_all,
)
from plastibench.runner.torch_state import torch_kept
from plastibench.store.record import Record
from plastibench.store.run_status import run_lock
from plastibench.system.memory import peak_memory, release_freed_memory, reset_peak_memory
from plastibench.training.callbacks import EpochProgress, IncompatibleCheckpointError, TrainingCallback

if TYPE_CHECKING:
    from torch import nn

    from plastibench.distributed.ranks import Ranks

MAX_NAMES = 5
"""Most parameters, and files of data, that a record names of those that were left out."""


def execute(spec: Spec, context: RunContext, callbacks: Sequence[RunCallback] = ()) -> Record:
    """Execute a run and return its record; a finished run is only read.

    A stopped run resumes from its checkpoint. Raises StopRequested if the run is asked to stop, and
    RunLockedError if another process executes it.
    """
    return execute_run(spec, context, partial(notify_all, callbacks))


def execute_run(spec: Spec, context: RunContext, emit: Emit, ranks: Ranks | None = None) -> Record:
    """Execute a run as `execute` does, with a function that takes its events.

    This process is the first of the `ranks` that train it; the others `follow`.
    """
    record = context.store.read(spec.id)
    if record is not None:
        return record
    with run_lock(context.store.folder(spec.id)):
        record = context.store.read(spec.id)
        if record is not None:  # another process has just finished it
            return record
        with torch_kept(lambda text: emit(RunLogged(spec, text))):
            try:
                return _train(spec, context, emit, ranks)
            except IncompatibleCheckpointError as error:
                emit(RunLogged(spec, f"starting over, its checkpoint cannot be used ({error})"))
                context.checkpoint(spec.id).remove()
                return _train(spec, context, emit, ranks)


def _train(spec: Spec, context: RunContext, emit: Emit, ranks: Ranks | None) -> Record:
    from plastibench.distributed.ranks import SOLO
    from plastibench.runner.method_changes import method_changes
    from plastibench.runner.provenance import provenance
    from plastibench.training import protocol
    from plastibench.training.probing import units_of
    from plastibench.training.trainer import DIVERGED

    _begin_memory()
    task, method = build(spec, context.registry)
    origin = provenance(context.data_context.device, ranks)
    reporter = TrainingReporter(spec, emit)
    plugins = own_plugins(spec, context.registry)
    checkpointer = _resume(spec, context, reporter, origin, plugins)
    history = checkpointer.history
    emit(RunStarted(spec, task.num_stages()))
    for row in history.rows:
        emit(StageRestored(spec, row))
    with context.store.open(spec, history.rows, plugins) as writer:
        history.rows = writer.rows
        if ranks is not None:
            ranks.send(Assignment(spec, context, history.progress))
        measures = protocol.Measures(spec.held_out_test, build_probes(spec, context.registry))
        options: dict[str, Any] = {"callback": reporter, "checkpointer": checkpointer, "measures": measures}
        where = replace(context.data_context, ranks=ranks or SOLO)
        for result in protocol.run(task, method, spec.seed, where, **options):
            row = _finite(result.as_dict())
            writer.append(row)
            emit(StageEnded(spec, row))
        status = DIVERGED if result.stop == DIVERGED else "done"
        measured = {**_times(checkpointer), **reporter.model_provenance, "data": result.data}
        measured |= {**reporter.data_provenance, **method_changes(task, method)}
        optional: dict[str, Any] = {"files": checkpointer.files(), "units": units_of(measures.probes)}
        optional["process_memory"] = peak_memory()
        present = {name: values for name, values in optional.items() if values}
        record = writer.finish(status, {**origin, **measured, **present})
    if not context.keeps_checkpoint:
        checkpointer.checkpoint.remove()
    return record


def _begin_memory() -> None:
    """Let this process hold, and count, no memory but that of the run that begins."""
    release_freed_memory()
    reset_peak_memory()


class TrainingReporter(TrainingCallback):
    """Reports the epochs and messages of a run as events, each message once."""

    def __init__(self, spec: Spec, emit: Emit) -> None:
        self.spec, self.emit = spec, emit
        self.model_provenance: dict[str, str | None] = {"weights": None}
        """Digest of the final weights, and the parameters that the method left out, if any."""
        self.data_provenance: dict[str, str] = {}
        """How many files of the data were left out, and the first of them, if any."""
        self._messages: set[str] = set()

    def on_epoch_end(self, epoch: EpochProgress) -> None:
        """Report an epoch."""
        self.emit(EpochEnded(self.spec, epoch))

    def on_log(self, message: str) -> None:
        """Report a message that is new."""
        if message not in self._messages:
            self._messages.add(message)
            self.emit(RunLogged(self.spec, message))

    def on_left_out(self, files: Sequence[str]) -> None:
        """Report files that are not used, and keep their number and first names for the record."""
        left_out = f"{count(len(files), 'image')} left out: {shortened(files, MAX_NAMES)}"
        self.data_provenance["left_out"] = left_out
        self.on_log(left_out)

    def on_train_end(self, model: nn.Module) -> None:
        """Describe the final model."""
        from plastibench.plugins.layers import untouched_parameters
        from plastibench.training.state import weights_digest

        self.model_provenance["weights"] = weights_digest(model)
        names = untouched_parameters(model)
        if names:
            self.model_provenance["untouched"] = (
                f"{len(names)} of {len(list(model.parameters()))} parameters of the model untouched: "
                f"{shortened(names, MAX_NAMES)}"
            )


def _resume(
    spec: Spec,
    context: RunContext,
    reporter: TrainingReporter,
    origin: Mapping[str, Any],
    plugins: Sequence[Plugin],
) -> RunCheckpointer:
    """Read what is saved of a run and add this session to it.

    Raises DataError if a file that its plug-ins had read has changed.
    """
    checkpoint = context.checkpoint(spec.id)
    history = RunHistory.load(checkpoint, reporter.on_log)
    if history.progress is not None:
        stage, epoch = history.position()
        reporter.on_log(f"resuming at stage {stage}, epoch {epoch}")
    history.add_session(origin)
    check_unchanged("this run was stopped", history.files)
    modules = [path for plugin in plugins if (source := plugin.own_source()) for path in source.paths]
    log, interval = reporter.on_log, context.checkpoint_interval
    timeout = context.run_timeout
    return RunCheckpointer(checkpoint, history, interval, log, modules=modules, timeout=timeout)


def _times(checkpointer: RunCheckpointer) -> dict[str, Any]:
    """Return when the run was executed, and how long it took by clocks that nobody can set."""
    sessions = checkpointer.history.sessions
    return {
        "started": sessions[0]["started"],
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": checkpointer.seconds(),
        "checkpoint_seconds": checkpointer.checkpoint_seconds,
        "sessions": sessions,
    }


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with None for the losses of a diverged stage: JSON has no NaN."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
