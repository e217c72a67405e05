"""The file that a run goes on from: whole or known to be damaged, and never code."""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.tasks import small_digits

from plastibench.errors import DataError
from plastibench.plugins.method import Method
from plastibench.runner.checkpointing import RunCheckpointer, RunHistory
from plastibench.store.checkpoint import CHECKPOINT_FILES, HEADER_SIZE, MAGIC, Checkpoint
from plastibench.testing.run_trace import data_context
from plastibench.training import protocol
from plastibench.training.callbacks import Checkpointer, IncompatibleCheckpointError, StateDict


def written(folder: Path, times: int = 2) -> Checkpoint:
    checkpoint = Checkpoint(folder, "a-run")
    for number in range(times):
        checkpoint.write({"number": number, "weights": torch.arange(1000.0)})
    return checkpoint


def read(checkpoint: Checkpoint) -> tuple[int | None, list[str]]:
    said: list[str] = []
    state = checkpoint.read(said.append)
    return (None if state is None else state["number"]), said


def test_newest_state_is_read_and_the_one_before_is_kept(tmp_path: Path) -> None:
    checkpoint = written(tmp_path, 3)
    assert read(checkpoint) == (2, [])
    (tmp_path / CHECKPOINT_FILES[0]).unlink()
    assert read(checkpoint) == (1, []), "a process killed between two renames leaves this"
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == []
    assert read(checkpoint) == (None, [])


def _flip(position: int) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(content)

    return damage


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _of_another_run(path: Path) -> None:
    other = path.parent / "other"
    other.mkdir(exist_ok=True)
    Checkpoint(other, "another-run").write({"number": 7})
    (other / CHECKPOINT_FILES[0]).replace(path)


class Malice:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch harm",)


def _malicious(path: Path) -> None:
    import hashlib

    payload = pickle.dumps({"run": "a-run", "state": Malice()})
    path.write_bytes(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "empty": _empty,
    "cut": _cut,
    "a byte of the weights": _flip(HEADER_SIZE + 1500),
    "a byte of the head": _flip(3),
    "a byte of the digest": _flip(len(MAGIC) + 5),
    "a folder": _folder,
    "of another run": _of_another_run,
    "code": _malicious,
}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_state_is_named_and_the_one_before_is_taken(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = written(tmp_path)
    DAMAGES[how](tmp_path / CHECKPOINT_FILES[0])
    number, said = read(checkpoint)
    assert number == 0
    assert len(said) == 1
    assert CHECKPOINT_FILES[0] in said[0]
    assert said[0].endswith("using the previous one")
    DAMAGES[how](tmp_path / CHECKPOINT_FILES[1])
    number, said = read(checkpoint)
    assert number is None
    assert len(said) == 2
    assert said[1].endswith("starting over")
    assert not (tmp_path / "harm").exists()


def test_state_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = written(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write({"number": 9})
    assert read(checkpoint) == (1, [])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(CHECKPOINT_FILES)


class Keeping(Checkpointer):
    """Keeps what is there before every stage."""

    def __init__(self) -> None:
        self.states: list[StateDict] = []

    def should_checkpoint(self, *, between_stages: bool = False) -> bool:
        return between_stages

    def save_state(self, state: StateDict) -> None:
        self.states.append(state)


def test_state_shares_no_memory_with_the_run() -> None:
    from plastibench.plugins.registry import Registry

    checkpointer = Keeping()
    list(protocol.run(small_digits(Registry()), Method(), 0, data_context(), checkpointer=checkpointer))
    first, second, third = (state["model"]["tensors"] for state in checkpointer.states)
    weights = [name for name in first if name.endswith("weight")]
    assert not any(torch.equal(second[name], third[name]) for name in weights)
    assert all(torch.isfinite(first[name]).all() for name in weights)


class FullDisk(Checkpoint):
    """A checkpoint on a full disk."""

    def write(self, state: StateDict) -> None:
        raise OSError(28, "No space left on device")


class Clock:
    """A clock that moves on by what it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_checkpointer(
    checkpoint: Checkpoint, interval: float, clock: Clock, messages: list[str]
) -> RunCheckpointer:
    return RunCheckpointer(checkpoint, RunHistory(), interval, messages.append, clock)


def test_an_infinite_interval_never_saves(tmp_path: Path) -> None:
    clock = Clock()
    never = a_checkpointer(Checkpoint(tmp_path, "a-run"), math.inf, clock, [])
    clock.now = 1e9
    assert not never.should_checkpoint()
    assert not never.should_checkpoint(between_stages=True)


def test_state_is_saved_every_interval_and_between_stages_if_that_is_nearly_free(tmp_path: Path) -> None:
    clock = Clock()
    checkpointer = a_checkpointer(Checkpoint(tmp_path, "a-run"), 60.0, clock, [])
    clock.now = 59.0
    assert not checkpointer.should_checkpoint()
    assert checkpointer.should_checkpoint(between_stages=True)
    clock.now = 60.0
    assert checkpointer.should_checkpoint()
    clock.now = 62.0  # the state took two seconds to write: the next one waits for a hundred times as long
    checkpointer.save_state({"stage": 0})
    assert checkpointer.checkpoint_seconds == 2.0
    clock.now = 261.0
    assert not checkpointer.should_checkpoint()
    assert not checkpointer.should_checkpoint(between_stages=True)
    clock.now = 262.0
    assert checkpointer.should_checkpoint()


def test_a_full_disk_is_logged_and_the_run_continues(tmp_path: Path) -> None:
    messages: list[str] = []
    always = a_checkpointer(FullDisk(tmp_path, "a-run"), 0, Clock(), messages)
    assert always.should_checkpoint()
    always.save_state({})
    assert messages == ["no checkpoint could be written: No space left on device"]


def test_saved_history_of_another_version_is_incompatible(tmp_path: Path) -> None:
    Checkpoint(tmp_path, "a-run").write({"of another version": 1})
    with pytest.raises(IncompatibleCheckpointError, match="of another version"):
        RunHistory.load(Checkpoint(tmp_path, "a-run"), print)


def test_state_saved_on_other_data_is_refused_before_it_is_used(tmp_path: Path) -> None:
    checkpoint, clock = Checkpoint(tmp_path, "a-run"), Clock()
    first = a_checkpointer(checkpoint, 0, clock, [])
    first.check_data("a" * 64)
    first.save_state({"stage": 0})
    resumed = RunCheckpointer(checkpoint, RunHistory.load(checkpoint, print), 0, print, clock)
    resumed.check_data("a" * 64)
    with pytest.raises(DataError, match="stopped on data aaaaaaaaaaaa, but the data found here are bbbbb"):
        resumed.check_data("b" * 64)


def test_state_of_an_earlier_version_has_the_data_of_its_rows(tmp_path: Path) -> None:
    state = {"rows": [{"data": "a" * 64}], "seconds": 1.0, "sessions": [], "progress": {"stage": 1}}
    Checkpoint(tmp_path, "a-run").write(state)
    assert RunHistory.load(Checkpoint(tmp_path, "a-run"), print).data == "a" * 64
