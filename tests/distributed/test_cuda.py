"""What only two cards can show of a run on several devices."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from support.commands import SMALL, command
from support.forked import ForkedProgram
from support.rank_program import Case, on_cuda, run_case, run_together

from plastibench.devices import collective_backends, get_device
from plastibench.distributed.launch import Meeting, join
from plastibench.distributed.watch import Limit
from plastibench.store.run_store import Store

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.heavy,
    pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices"),
]

ROUNDING = 1e-3
"""Largest difference of a weight at the end of a run, as a fraction of the largest weight of its tensor."""
CASES = [
    *map(Case, ("warm", "dash", "shrink_perturb", "redo")),
    Case("warm", optimizer="sam"),
    Case("dash", model="mlp_bn"),
    Case("warm", model="small_resnet"),
]


def test_two_cards_train_as_one_does_and_again_with_the_same_bits(tmp_path: Path) -> None:
    for name in ("once", "again"):
        (tmp_path / name).mkdir()
    first, second = run_together(CASES, tmp_path / "once", work=on_cuda)
    again, _ = run_together(CASES, tmp_path / "again", work=on_cuda)
    for case, outcome, other, repeated in zip(CASES, first, second, again, strict=True):
        alone = run_case(case, device="cuda:0")
        assert outcome.error is None
        for name, weight in alone.weights.items():
            assert torch.equal(outcome.weights[name], other.weights[name]), f"{case}: cards differ in {name}"
            assert torch.equal(outcome.weights[name], repeated.weights[name]), (
                f"{case}: {name} is not repeated"
            )
            if case.model != "mlp_bn" or not name.endswith(("bias", "running_mean")):
                difference = float((outcome.weights[name] - weight).abs().max())
                assert difference <= ROUNDING * float(weight.abs().max()), f"{case}: {name}"


def test_a_command_trains_on_two_cards(tmp_path: Path) -> None:
    words = ["run", "--no-mlflow", "--home", tmp_path, "--device", "cuda", "--devices", 2, "--seeds", 1]
    assert command(*words, "--task", "digits", "--method", "warm,dash", *SMALL).status == 0
    records = Store(tmp_path).records()
    assert [record.provenance["devices"] for record in records] == [2, 2]
    too_many = command(*words[:-3], torch.cuda.device_count() + 1, *words[-2:], "--task", "digits")
    assert too_many.status == 2
    assert "devices for a run are not allowed with device cuda" in too_many.err


def hang(rank: int, folder: str) -> None:
    """Exchange gradients once, and then do not come, on the second card."""
    device = get_device(f"cuda:{rank}")
    device.make_current()
    meeting, limit = Meeting(Path(folder) / "meeting", rank, 2), Limit(3.0, partial(say, folder))
    ranks = join(collective_backends(), meeting, limit)
    gradient = torch.ones(1000, device=device.torch_device)
    ranks.sum_([gradient])
    assert float(gradient[0]) == 2
    if rank:
        time.sleep(100)
    ranks.sum_([gradient])
    device.synchronize()


def say(folder: str, message: str, is_first: bool) -> None:
    (Path(folder) / "said").write_text(f"{is_first} {message}", encoding="utf-8")
    os._exit(3)


def test_a_card_that_does_not_come_is_named_while_the_other_waits_on_its_own(tmp_path: Path) -> None:
    programs = [ForkedProgram(hang, rank, str(tmp_path)) for rank in (0, 1)]
    _, said = programs[0].communicate(timeout=120)
    programs[1].kill()
    programs[1].communicate(timeout=60)
    assert programs[0].returncode == 3, said
    message = (tmp_path / "said").read_text(encoding="utf-8")
    assert message.startswith("True rank 1 of 2 did not come to the start of the run within 3 s")
