"""The seam between everything that runs and the device that it runs on."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from plastibench.errors import RequestError
from plastibench.system.cpu import max_threads

if TYPE_CHECKING:
    from plastibench.devices.graph_capture import GraphCapturer
    from plastibench.system.energy import Reading

AUTOCAST = {"bf16": torch.bfloat16}


class Device:
    """A device that can train. `torch` is what tensors are moved to."""

    device_type: ClassVar[str]
    matmul_size: ClassVar[int] = 8192
    """Side of square matrices whose product shows the peak rate: more would only take longer."""

    def __init__(self, index: int | None = None) -> None:
        self.torch_device = (
            torch.device(self.device_type) if index is None else torch.device(self.device_type, index)
        )

    def __str__(self) -> str:
        """Return the name torch gives it."""
        return str(self.torch_device)

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why this kind of device cannot be used here, or None."""
        return None

    @classmethod
    def device_count(cls) -> int:
        """Return how many there are."""
        return 1

    def name(self) -> str:
        """Return the name of the hardware."""
        raise NotImplementedError

    def default_num_processes(self) -> int:
        """Return how many runs go side by side on it unless a user says otherwise."""
        return 1

    def num_threads(self, runs: int) -> int:
        """Return how many threads of the processor each of `runs` side by side takes unless a user says it.

        They share the cores out, and none takes more than OMP_NUM_THREADS allows.
        """
        return max(1, min(self.default_num_processes() // runs, max_threads()))

    def manual_seed(self, seed: int) -> None:
        """Seed the global streams that layers such as dropout draw from, on the CPU and here."""
        torch.manual_seed(seed)

    def rng_state(self) -> list[torch.Tensor]:
        """Return the states of the global streams that `seed` sets."""
        return [torch.get_rng_state()]

    def set_rng_state(self, states: list[torch.Tensor]) -> None:
        """Set the global streams to states that `streams` returned."""
        torch.set_rng_state(states[0])

    def is_deterministic(self) -> bool:
        """Return whether the same work gives the same bits here, as things are set in this process."""
        return False

    def use_deterministic_algorithms(self) -> None:
        """From now on, in this process, give the same bits for the same work. Raises RequestError."""
        raise RequestError(f"{self.device_type} has no deterministic algorithms: leave --deterministic out")

    def synchronize(self) -> None:
        """Wait until everything queued here is done."""

    def mark_step(self) -> None:
        """Say that a piece of work is complete, where the device collects work until told."""

    def graph_capturer(self) -> GraphCapturer | None:
        """Return what records work here so that it can be replayed, or None where nothing does."""
        return None

    def compile_backend(self) -> str | None:
        """Return the backend of torch.compile that passes of whole batches go through here, or None."""
        return None

    def make_lr(self, rate: float) -> float | torch.Tensor:
        """Return a learning rate as optimizers take it here.

        A tensor is read anew at every replay of a recorded step, and asks for optimizers that are fused.
        """
        return rate

    def max_memory_allocated(self) -> int | None:
        """Return the most bytes held since `reset_peak_memory`, or None where that is not known."""
        return None

    def reset_peak_memory_stats(self) -> None:
        """Start a new peak."""

    def limit_memory(self, runs: int) -> None:
        """Let this process hold no more than its part of the device's memory: `runs` of them use it."""

    def empty_cache(self) -> None:
        """Give memory that is held and not used back to the device: others may want it."""

    def read_energy(self) -> Reading | None:
        """Read the device's own energy counters, or return None where it has none."""
        return None

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """Return the context in which a forward pass computes in `precision`."""
        if precision not in self.supported_precisions():
            allowed = ", ".join(self.supported_precisions())
            raise RequestError(
                f"precision={precision} is not allowed on {self.device_type}: it can be {allowed}"
            )
        dtype = AUTOCAST.get(precision)
        return nullcontext() if dtype is None else torch.autocast(self.device_type, dtype=dtype)

    @classmethod
    def supported_precisions(cls) -> tuple[str, ...]:
        """Return the precisions that exist here."""
        return ("fp32", "bf16")

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return the layout of images and convolution weights in which a model is fastest here."""
        return torch.contiguous_format

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return the model on this device, in its fastest layout."""
        return model.to(self.torch_device).to(memory_format=self.memory_format(model))
