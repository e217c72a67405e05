"""Runs that several processes train together, and the same ones trained by a single process."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from plastibench.devices import collective_backends, get_device
from plastibench.distributed.launch import Launch, Meeting, join
from plastibench.distributed.ranks import SOLO, Ranks
from plastibench.distributed.watch import TIMEOUT, Limit
from plastibench.errors import explain
from plastibench.plugins.method import Method
from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext
from plastibench.store.run_metrics import HARDWARE_DEPENDENT
from plastibench.testing.law_tasks import LawTasks
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, StateDict, StopRequested, TrainingCallback
from plastibench.training.learner import Learner
from support.forked import ForkedProgram

Work = Callable[[int, int, str, list["Case"]], None]


class Careless(Method):
    """Changes the weights by what each device has of the batch."""

    def after_step(self, learner: Learner) -> None:
        assert learner.batch is not None
        next(learner.model.parameters()).add_(learner.batch.sum())


class Drawing(Method):
    """Draws more numbers on one device than on another."""

    def after_step(self, learner: Learner) -> None:
        torch.rand(learner.ranks.rank, generator=learner.generator)


class OwnGradient(Method):
    """Takes gradients of its own on the batch of each step, and a step along their sum."""

    def after_step(self, learner: Learner) -> None:
        x, model = learner.batch, copy.deepcopy(learner.model)
        assert x is not None
        y = learner.forward(model, x).argmax(1)
        model.zero_grad(set_to_none=True)
        learner.backward(model, x, y, 0.5)
        learner.backward(model, x, y, 0.5)
        for weight, other in zip(learner.model.parameters(), model.parameters(), strict=True):
            weight.sub_(other.grad, alpha=0.01)  # type: ignore[arg-type]


OWN: dict[str, type[Method]] = {cls.__name__: cls for cls in (Careless, Drawing, OwnGradient)}


class Case(NamedTuple):
    """A run, or a part of one."""

    method: str
    model: str = "plain_cnn"
    batch_size: int = 23
    optimizer: str = "sgd"
    stop_after: int | None = None
    """Steps after which it is stopped, with a checkpoint."""
    resumed: int | None = None
    """The number of the case, before this one, whose checkpoint it resumes from."""


class Outcome(NamedTuple):
    """What came of a run, as plain values and tensors."""

    rows: list[dict[str, Any]]
    weights: dict[str, Tensor]
    error: str | None = None
    state: StateDict | None = None


def run_case(case: Case, ranks: Ranks = SOLO, state: StateDict | None = None, device: str = "cpu") -> Outcome:
    """Train a case, from a state on if there is one."""
    registry = Registry()
    task = LawTasks(registry).task(case.model, batch_size=case.batch_size, optimizer=case.optimizer)
    cls = OWN[case.method] if case.method in OWN else registry.load("method", case.method)
    callback, checkpointer = _Final(), _Stopper(case.stop_after, state)
    folder = Path(__file__).parent
    context = DataContext(get_device(device), folder, folder, ranks)
    rows: list[dict[str, Any]] = []
    try:
        for result in protocol.run(
            task, cls(**cls.active), 0, context, callback=callback, checkpointer=checkpointer
        ):
            rows.append(_comparable(result.as_dict()))
    except StopRequested:
        return Outcome(rows, {}, None, checkpointer.saved)
    except Exception as error:
        return Outcome(rows, {}, explain(error))
    return Outcome(rows, callback.weights)


def run_together(
    cases: list[Case], folder: Path, size: int = 2, work: Work | None = None
) -> list[list[Outcome]]:
    """Train every case in the same `size` processes; return the outcomes of each rank."""
    programs = [ForkedProgram(work or on_cpu, rank, size, str(folder), cases) for rank in range(size)]
    for program in programs:
        _, said = program.communicate(timeout=500)
        assert program.returncode == 0, said
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(size)]


def on_cpu(rank: int, size: int, folder: str, cases: list[Case]) -> None:
    """Train every case as one of the ranks."""
    _train(rank, size, folder, cases, "cpu")


def on_cuda(rank: int, size: int, folder: str, cases: list[Case]) -> None:
    """Train every case as one of the ranks, each on its own card, with the same bits each time."""
    device = get_device(f"cuda:{rank}")
    device.make_current()
    device.use_deterministic_algorithms()
    _train(rank, size, folder, cases, str(device))


def on_fake_hpu(rank: int, size: int, folder: str, cases: list[Case]) -> None:
    """Train every case as one of the ranks, on a stand-in for Gaudi."""
    from support import fake_hpu

    fake_hpu.install()
    with fake_hpu.FakeHpu():
        _train(rank, size, folder, cases, "hpu")
    assert fake_hpu.calls["hccl"] == 1
    assert [os.environ[name] for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")] == [str(rank), "2", str(rank)]
    assert Launch.from_environment() is None, "that is what torchrun sets, and more"


def _train(rank: int, size: int, folder: str, cases: list[Case], device: str) -> None:
    torch.set_num_threads(1)
    meeting, limit = Meeting(Path(folder) / "meeting", rank, size), Limit(TIMEOUT, lambda *said: None)
    ranks = join(collective_backends(rank, size), meeting, limit)
    outcomes: list[Outcome] = []
    for case in cases:
        state = None if case.resumed is None else outcomes[case.resumed].state
        if case.resumed is not None:  # the first rank's, as in a real run
            if rank == 0:
                ranks.send(state)
            else:
                state = ranks.receive()
        outcomes.append(run_case(case, ranks, state, device))
    ranks.leave()
    torch.save(outcomes, Path(folder) / f"{rank}.pt")


def _comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in HARDWARE_DEPENDENT}


class _Final(TrainingCallback):
    """Keeps the final weights and buffers."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}

    def on_train_end(self, model: nn.Module) -> None:
        self.weights = {name: value.to("cpu", copy=True) for name, value in model.state_dict().items()}


class _Stopper(Checkpointer):
    """Stops a run after some steps, and keeps its state."""

    def __init__(self, stop_after: int | None, state: StateDict | None) -> None:
        self.left, self.state = stop_after, state
        self.saved: StateDict | None = None

    def resume_state(self) -> StateDict | None:
        return copy.deepcopy(self.state)  # a run changes what it has loaded

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        if self.left is None or between_stages:
            return False
        self.left -= 1
        return self.left == 0

    def save_state(self, state: StateDict) -> None:
        self.saved = state
        raise StopRequested
