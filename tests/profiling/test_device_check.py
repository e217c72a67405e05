"""What a device is compared with the CPU by: losses, waits of the host, output of the vendor's libraries."""

from __future__ import annotations

import os

import pytest
import torch

from plastibench.devices import Cpu, Hpu
from plastibench.profiling.device_check import STEPS, HostWaits, step_losses
from plastibench.system.output import logged_output


class Elsewhere(Cpu):
    """A device whose tensors have no values, so that none can be read."""

    device_type = "meta"


def test_losses_are_those_of_training() -> None:
    losses = step_losses(Cpu())
    assert len(losses) == STEPS
    assert losses == step_losses(Cpu())
    assert losses[0] == pytest.approx(2.3, abs=0.5)  # ten classes


def test_what_the_host_reads_is_counted() -> None:
    with HostWaits(Elsewhere()) as waits:
        x = torch.ones(3, device="meta")
        (x + 1).sum()
        for read in (x.sum().item, x.cpu):
            with pytest.raises(
                (RuntimeError, NotImplementedError)
            ):  # counted or not, meta tensors have no values
                read()
        torch.empty(3).copy_(torch.ones(3))
    assert sum(waits.counts.values()) == 0
    with HostWaits(Cpu()) as waits:
        torch.ones(3).sum().item()
    assert sum(waits.counts.values()) == 0


def test_output_of_libraries_is_read_and_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with logged_output(True) as log:
        os.write(1, b"CPU fallback digamma : self=HPUBFloat16Type\n")
        os.write(2, b"CPU fallback digamma : self=HPUFloatType\nCPU fallback nonzero : self=HPUBoolType\n")
    assert Hpu().fallback_operators(log()) == ["digamma", "digamma", "nonzero"]
    assert capfd.readouterr() == ("", "")
