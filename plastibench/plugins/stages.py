"""The stages that a task yields: checked, and without an effect on torch's global generators."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any

from plastibench.data.dataset import Dataset
from plastibench.data.described import described, named
from plastibench.data.no_data import NoData
from plastibench.devices import Device
from plastibench.errors import RequestError
from plastibench.plugins.file_reads import unwatched
from plastibench.plugins.method import Method
from plastibench.plugins.task import DataContext, Stage, Task
from plastibench.seeding import derive_seed


def stages_of(task: Task, seed: int, context: DataContext) -> Iterator[Stage]:
    """Yield the stages of a seed; files that are read to make them are not noted.

    Raises RequestError, which names the task's file, for what is no stage.
    """
    for position, stage in enumerate(unwatched(_drawn_apart, task, seed, context)):
        problem = _problem(stage, position)
        if problem is not None:
            raise RequestError(f"stream of {named(type(task))} yields {problem}")
        yield stage


def sealed(stage: Stage, method: Method) -> Stage:
    """Return a stage as a method has it until it is measured: without pool, and its test data unreadable."""
    test = NoData(
        f"{type(method).__name__} reads the test data before its accuracy on them is measured, which would "
        "then be none: learn and select on learner.stage.train; after_stage may read them, to report"
    )
    return replace(stage, pool=None, test=None if stage.test is None else test)


@contextmanager
def apart(device: Device, *stream: str | int) -> Iterator[None]:
    """Seed torch's global generators with a named stream, and put them back at the end.

    What a task draws from them depends on nothing else, and what it seeds changes nothing else.
    """
    state = device.rng_state()
    device.manual_seed(derive_seed(*stream))
    try:
        yield
    finally:
        device.set_rng_state(state)


def _drawn_apart(task: Task, seed: int, context: DataContext) -> Iterator[Any]:
    """Yield what a stream yields, each item made with random streams of its own."""
    stages: Iterator[Any] | None = None
    for position in count():
        with apart(context.device, seed, "stream", position):
            stages = _iterator(task, seed, context) if stages is None else stages
            try:
                stage = next(stages)
            except StopIteration:
                return
        yield stage


def _iterator(task: Task, seed: int, context: DataContext) -> Iterator[Any]:
    stages: Any = task.stream(seed, context)
    if not hasattr(stages, "__iter__"):
        raise RequestError(
            f"stream of {named(type(task))} returns {described(stages)}: it must yield Stage objects"
        )
    return iter(stages)


def _problem(stage: Any, position: int) -> str | None:  # noqa: ANN401 - whatever a plug-in yields
    """Return what is wrong with what a stream has yielded, and what it must be, or None."""
    if not isinstance(stage, Stage):
        return f"{described(stage)}: it must yield Stage objects"
    if stage.index != position:
        return f"a stage with index={stage.index!r} where {position} comes: they are counted from 0"
    for part in ("train", "validation", "test"):
        data = getattr(stage, part)
        # By its type: nothing is asked of test data that nobody may read.
        if not issubclass(type(data), Dataset) and (data is not None or part == "train"):
            return f"stage {position} whose {part} is {described(data)}: it must be a Dataset"
    if not stage.chunks or sum(stage.chunks) != len(stage.train):
        return (
            f"stage {position} with chunks={stage.chunks} and {len(stage.train):,} training examples: chunks "
            "are the numbers of examples that came together, oldest first, and their sum is that of all"
        )
    return None
