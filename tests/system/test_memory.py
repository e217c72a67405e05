"""The memory of a process: limits of its container, peaks that begin anew, freed memory that goes back."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry
from plastibench.runner.context import RunContext
from plastibench.runner.execute import execute
from plastibench.runner.workspace import Workspace
from plastibench.system.memory import (
    group_limits,
    keep_freed_memory,
    peak_memory,
    release_freed_memory,
    reset_peak_memory,
    total_memory,
)

MIB = 2**20
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_limits_of_all_groups_around_a_process_hold(tmp_path: Path) -> None:
    write(tmp_path / "slurm/job/memory.max", "max\n")
    write(tmp_path / "slurm/memory.max", f"{300 * MIB}\n")
    write(tmp_path / "memory.max", f"{900 * MIB}\n")
    assert list(group_limits("0::/slurm/job\n", tmp_path)) == [300 * MIB, 900 * MIB]
    write(tmp_path / "memory/docker/memory.limit_in_bytes", "12345\n")
    assert list(group_limits("7:cpu:/docker\n3:memory:/docker\n", tmp_path)) == [12345]
    assert list(group_limits("0::/elsewhere\n", tmp_path / "none")) == []


def test_no_more_memory_is_planned_with_than_the_machine_has() -> None:
    total = total_memory()
    assert total is not None
    assert 2**28 < total <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@glibc
def test_freed_memory_is_kept_until_it_is_released() -> None:
    keep_freed_memory()
    release_freed_memory()
    reset_peak_memory()
    before = peak_memory()
    assert before is not None
    big = torch.ones(96 * MIB, dtype=torch.uint8)
    assert peak_since() >= before + 90 * MIB
    del big
    reset_peak_memory()
    assert peak_since() >= before + 90 * MIB, "kept for the next tensor"
    release_freed_memory()
    reset_peak_memory()
    assert peak_since() < before + 40 * MIB


def peak_since() -> int:
    peak = peak_memory()
    assert peak is not None
    return peak


def process_memory(registry: Registry, home: Path, stages: int, seeds: Sequence[int] = (0,)) -> list[int]:
    """Return what the record of each of some small runs, executed one after the other, says."""
    settings = {"stages": str(stages), "max_epochs": "1", "width": "4", "train_size": str(60 * stages)}
    specs = Grid(("digits",), ("warm",), seeds=tuple(seeds), settings=settings).specs(registry)
    context = RunContext(Workspace(home=home, data=home, cache=home), "cpu")
    return [execute(spec, context).provenance["process_memory"] for spec in specs]


@glibc
@pytest.mark.heavy
def test_a_run_holds_as_much_after_many_stages_as_after_few(registry: Registry, tmp_path: Path) -> None:
    process_memory(registry, tmp_path, 2, (1,))  # imports what the first run of a process does
    (few,) = process_memory(registry, tmp_path, 2)
    (many,) = process_memory(registry, tmp_path, 12)
    assert many < few + 16 * MIB


@glibc
@pytest.mark.heavy
def test_a_run_does_not_count_what_the_one_before_it_held(registry: Registry, tmp_path: Path) -> None:
    first, second = process_memory(registry, tmp_path, 2, (0, 1))
    big = torch.ones(128 * MIB, dtype=torch.uint8)
    del big
    (third,) = process_memory(registry, tmp_path, 2, (2,))
    assert third < max(first, second) + 32 * MIB
