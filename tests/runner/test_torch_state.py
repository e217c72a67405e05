"""What a plug-in prints is not among the results, and what it changes of torch does not reach other runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from support.commands import command, small_run

from plastibench.devices import DEVICES, Cpu, Cuda
from plastibench.store.run_store import Store

LEAKY = '''"""Leaky."""

from dataclasses import dataclass

import torch

from plastibench.api import Learner, Method

print("hello from the import")


@dataclass(kw_only=True)
class Leaky(Method):
    """Leaves torch changed (arXiv 0000.00000)."""

    def after_stage(self, learner: Learner) -> None:
        print("hello from a stage")
        if learner.stage.index == 1:
            torch.set_default_dtype(torch.float64)
            torch.set_num_threads(3)
'''
WORDS = (
    "--task",
    "digits",
    "--set",
    "stages=2",
    "--set",
    "train_size=64",
    "--set",
    "max_epochs=1",
    "--no-mlflow",
)


@pytest.mark.heavy
def test_a_run_prints_to_stderr_and_leaves_torch_as_it_was(tmp_path: Path) -> None:
    file, before = tmp_path / "leaky.py", torch.get_num_threads()
    file.write_text(LEAKY, encoding="utf-8")
    words = (
        "--plugin",
        file,
        "--method",
        "leaky,warm",
        "--seeds",
        1,
        "--home",
        tmp_path,
        "--jobs",
        1,
        *WORDS,
    )
    done = command("run", *words, "--json")
    assert done.status == 0, done.err
    assert json.loads(done.out)["command"] == "run"
    assert "hello from the import" in done.err
    assert "hello from a stage" in done.err
    assert "default dtype was torch.float32 before this run and torch.float64 after it: set back" in done.err
    assert "number of threads was" in done.err
    assert torch.get_default_dtype() == torch.float32
    assert torch.get_num_threads() == before


class CpuWithTwoKindsOfKernels(Cpu):
    """A processor that torch has to be told to be deterministic on, as a card."""

    def use_deterministic_algorithms(self) -> None:
        Cuda(0).use_deterministic_algorithms()


@pytest.mark.heavy
def test_deterministic_algorithms_end_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(DEVICES, "cpu", CpuWithTwoKindsOfKernels)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    done = small_run(tmp_path, "--method", "warm", "--deterministic", "--jobs", 1)
    assert done.status == 0, done.err
    assert not torch.are_deterministic_algorithms_enabled()
    (record,) = Store(tmp_path).records()
    assert record.provenance["deterministic"]
    done = command("verify", "--home", tmp_path, record.id)
    assert done.status == 0, done.err
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
