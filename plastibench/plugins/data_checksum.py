"""The checksum of a task's data: computed from the data, whatever a plug-in claims."""

import hashlib
from contextlib import suppress
from dataclasses import replace

from plastibench.errors import RequestError
from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.fields import setting_names
from plastibench.plugins.stages import stages_of
from plastibench.plugins.task import DataContext, Stage, Task

REFERENCE_SEED = 0
"""The stream of this seed stands for the data of all seeds."""


def data_checksum(task: Task, stage: Stage, context: DataContext, *, held_out_test: bool = False) -> str:
    """Return a SHA-256, hexadecimal, of the data that a task trains and tests on.

    A ClassificationTask's is that of its whole data set, which `stage`, one of its stages, has. A task with
    a stream of its own may take its data from anywhere: its checksum is that of what it yields for the
    reference seed, without the test data if they are held out.
    """
    if isinstance(task, ClassificationTask) and type(task).stream is ClassificationTask.stream:
        return stage.checksum
    return _stream_checksum(task, context, held_out_test=held_out_test)


def _stream_checksum(task: Task, context: DataContext, *, held_out_test: bool) -> str:
    """Return the checksum of what arrives in each stage and of what each stage is tested on."""
    if "validation" in setting_names(type(task)):
        with suppress(RequestError):  # the same data whatever share of them a tuning holds out
            task = replace(task, validation=0.0)  # type: ignore[call-arg]
    state = hashlib.sha256()
    tested = None
    for stage in stages_of(task, REFERENCE_SEED, context):
        state.update(repr((stage.index, stage.chunks)).encode())
        stage.train[max(0, len(stage.train) - stage.num_new) :].update_digest(state)
        if not held_out_test and stage.test is not None and stage.test is not tested:
            stage.test.update_digest(state)
            tested = stage.test
    return state.hexdigest()
