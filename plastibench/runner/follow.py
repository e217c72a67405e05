"""What the ranks of a run but the first do: train along, and write nothing."""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from plastibench.data.streaming import WORKERS_VARIABLE
from plastibench.devices import get_device
from plastibench.distributed.launch import Launch
from plastibench.experiments.spec import build
from plastibench.runner.assignment import Assignment
from plastibench.runner.worker import init_worker
from plastibench.system.cpu import num_cores
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, IncompatibleCheckpointError, StateDict

if TYPE_CHECKING:
    from plastibench.distributed.group import RankGroup


def follow(ranks: RankGroup, locate: Callable[[str], str]) -> None:
    """Train what the first rank trains until it ends.

    `locate` returns this rank's device, given that of the run. Raises RankLostError if a rank is gone, and
    whatever a run raises.
    """
    assignment, is_ready = ranks.receive(), False
    while assignment is not None:
        device = locate(assignment.context.device)
        assignment = replace(assignment, context=replace(assignment.context, device=device))
        if not is_ready:
            init_worker(assignment.context)
            is_ready = True
        _train_along(assignment, ranks)
        assignment = ranks.receive()


def device_of(launch: Launch, name: str) -> str:
    """Return the device of a process that torchrun has started, given that of the run."""
    return get_device(name).names_of_ranks(launch.local_size)[launch.local_rank]


def share_decoders(num_ranks: int) -> None:
    """Let this process have its share of the machine's cores for decoding, unless the user has decided."""
    os.environ.setdefault(WORKERS_VARIABLE, str(max(1, num_cores() // num_ranks)))


class _GivenState(Checkpointer):
    """Resumes from a state that was given, and saves none."""

    def __init__(self, state: StateDict | None) -> None:
        self.state = state

    def resume_state(self) -> StateDict | None:
        return self.state


def _train_along(assignment: Assignment, ranks: RankGroup) -> None:
    spec, context = assignment.spec, assignment.context
    task, method = build(spec, context.registry)
    measures = protocol.Measures(spec.held_out_test)
    options: dict[str, Any] = {"checkpointer": _GivenState(assignment.progress), "measures": measures}
    try:
        where = replace(context.data_context, ranks=ranks)
        results = protocol.run(task, method, spec.seed, where, **options)
        with warnings.catch_warnings(action="ignore"):  # the first rank gives the same ones
            deque(results, maxlen=0)
    except IncompatibleCheckpointError:
        return  # the first rank has the same error, and starts over
