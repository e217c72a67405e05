"""Intel Gaudi cards."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch

from plastibench.devices.device import Device


class Hpu(Device):
    """An Intel Gaudi card. Not yet run on a card: tests use a CPU-backed stand-in."""

    device_type = "hpu"

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why Gaudi cannot be used here, or None if it can."""
        if not hasattr(torch, "hpu") and importlib.util.find_spec("habana_frameworks") is not None:
            importlib.import_module("habana_frameworks.torch")
        if hasattr(torch, "hpu") and torch.hpu.is_available():
            return None
        return "torch sees no Gaudi card on this machine (is habana_frameworks installed?)"

    @classmethod
    def device_count(cls) -> int:
        """Return the number of cards that torch sees."""
        return int(_hpu().device_count())

    def name(self) -> str:
        """Return the card's name."""
        return str(_hpu().get_device_name())

    def manual_seed(self, seed: int) -> None:
        """Seed the CPU and the cards: torch's manual_seed does not seed the latter."""
        torch.manual_seed(seed)
        _hpu().manual_seed_all(seed)

    def rng_state(self) -> list[torch.Tensor]:
        """Return the states of the CPU's generator and the card's."""
        return [*super().rng_state(), _hpu().get_rng_state()]

    def set_rng_state(self, states: list[torch.Tensor]) -> None:
        """Restore the CPU's generator and the card's."""
        super().set_rng_state(states)
        _hpu().set_rng_state(states[1])

    def synchronize(self) -> None:
        """Wait for the card."""
        _hpu().synchronize()

    def mark_step(self) -> None:
        """End a lazily collected graph; in eager mode the call would only warn."""
        if _lazy():
            _mark_step()()

    def compile_backend(self) -> str | None:
        """Return the vendor's backend, which makes eager mode fast; lazy mode builds graphs by itself."""
        return None if _lazy() else "hpu_backend"

    def max_memory_allocated(self) -> int | None:
        """Return the peak of the allocator in bytes."""
        return int(_hpu().max_memory_allocated())

    def reset_peak_memory_stats(self) -> None:
        """Start a new measurement of the peak."""
        _hpu().reset_peak_memory_stats()


def _hpu() -> Any:  # noqa: ANN401 - a module that the vendor's plug-in adds to torch
    return vars(torch)["hpu"]


def _lazy() -> bool:
    """Return whether work is collected lazily, the default before the vendor's release 1.21."""
    return os.environ.get("PT_HPU_LAZY_MODE") == "1"


def _mark_step() -> Callable[[], None]:
    core = importlib.import_module("habana_frameworks.torch.core")
    return core.mark_step  # type: ignore[no-any-return]
