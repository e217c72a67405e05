"""The interface between everything that runs and the device that it runs on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from plastibench.errors import RequestError, did_you_mean

if TYPE_CHECKING:
    from plastibench.devices.graph_capture import GraphCapturer
    from plastibench.system.energy import Reading

AUTOCAST = {"bf16": torch.bfloat16}

SmallConvolution = Literal["library", "matmul", "matmul_bf16"]
"""How 3x3 convolutions of images of hardly more than one pixel are computed: by torch's library, as matrix
products without the padding, or, in wide bf16 layers too, as products of gathered matrices."""


@runtime_checkable
class PreparesForDevice(Protocol):
    """A layer that adapts itself to the device: an optional hook of any module of a model."""

    def prepare_for(self, device: Device) -> None:
        """Choose how to compute on `device`; called before the model is moved there."""


class Device:
    """A device that can train."""

    torch_device: torch.device
    """Where tensors are moved to."""
    device_type: ClassVar[str]
    """The type of `torch_device`, and the name of the device on the command line."""
    matmul_size: ClassVar[int] = 8192
    """Side of the square matrices whose product shows the peak rate; larger ones would only take longer."""
    activation_memory: ClassVar[int] = 400 * 2**20
    """Bytes that a pass of a method may keep for its gradient, whatever the batch; the same on every machine,
    because the parts of a batch decide the rounding."""
    cluster_resource: ClassVar[str | None] = None
    """What schedulers of clusters call such a device; None if they count the cores that a run uses."""
    process_memory: ClassVar[int] = 600 * 2**20
    """Bytes of memory that a process takes beside what is measured of a run, for kernels and libraries."""
    is_shareable: ClassVar[bool] = True
    """Whether several runs can use a device at once."""
    collectives: ClassVar[str] = "gloo"
    """torch.distributed's backend for tensors of this type of device."""
    visible_variable: ClassVar[str | None] = None
    """The environment variable that hides devices of this type, if there is one."""
    small_convolution: ClassVar[SmallConvolution] = "matmul"
    """How small convolutions are fastest here."""
    fallback_variables: ClassVar[Mapping[str, str]] = {}
    """Environment variables of a program in which operators that run on the CPU instead are logged."""

    casts_together: ClassVar[bool] = False
    """Whether all weights are best cast to the precision of a pass by one operation."""

    def __init__(self, index: int | None = None) -> None:
        self.index = index
        """Number of the device among those of its type, or None for the current one or all."""
        self.torch_device = torch.device(str(self))

    def __str__(self) -> str:
        """Return the name of the device."""
        return self.device_type if self.index is None else f"{self.device_type}:{self.index}"

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why devices of this type cannot be used here, or None if they can."""
        return None

    @classmethod
    def device_count(cls) -> int:
        """Return the number of devices."""
        return 1

    @classmethod
    def load_collectives(cls, rank: int | None, size: int) -> None:
        """Make `collectives` known to torch.distributed, in one of `size` processes of this machine.

        Its rank is None if torchrun has started it, which says it in variables. Raises RequestError if the
        backend is not installed.
        """

    def names(self) -> list[str]:
        """Return torch's names of the devices that runs use: all of the type unless one is named."""
        count = self.device_count() if self.index is None else 1
        return [f"{self.device_type}:{index}" for index in range(count)] if count > 1 else [str(self)]

    def names_of_ranks(self, size: int) -> list[str]:
        """Return the device of each of `size` processes that train one run. Raises RequestError."""
        names = self.names()
        if size > len(names):
            there = f"here are {len(names)} such devices" if len(names) > 1 else "here is one such device"
            chosen = os.environ.get(self.visible_variable or "")
            limit = "" if chosen is None else f" ({self.visible_variable}={chosen})"
            raise RequestError(f"{size} devices for a run are not allowed with device {self}: {there}{limit}")
        return names[:size]

    def name(self) -> str:
        """Return the name of the hardware."""
        raise NotImplementedError

    def facts(self) -> dict[str, str]:
        """Return versions and modes of the vendor's software that decide how it computes, by name."""
        return {}

    def fallback_operators(self, log: str) -> list[str]:
        """Return each operator of which a program's output says that it ran on the CPU instead."""
        return []

    def default_num_processes(self) -> int:
        """Return how many runs are executed side by side unless the user sets a number."""
        return len(self.names())

    def num_threads(self, num_processes: int) -> int:
        """Return how many CPU threads each of `num_processes` uses unless the user sets a number."""
        return 1

    def manual_seed(self, seed: int) -> None:
        """Seed the global generators that layers such as dropout draw from, on the CPU and on the device."""
        torch.manual_seed(seed)

    def rng_state(self) -> list[torch.Tensor]:
        """Return the states of the generators that `manual_seed` seeds."""
        return [torch.get_rng_state()]

    def set_rng_state(self, states: list[torch.Tensor]) -> None:
        """Restore states that `rng_state` returned."""
        torch.set_rng_state(states[0])

    def is_deterministic(self) -> bool:
        """Return whether the same work gives the same bits, as this process is set up."""
        return False

    def use_deterministic_algorithms(self) -> None:
        """Make the same work give the same bits in this process from now on.

        Raises RequestError if the device has no deterministic algorithms.
        """
        raise RequestError(f"{self.device_type} has no deterministic algorithms: leave out --deterministic")

    def make_current(self) -> None:
        """Let libraries that are not told a device use this one, in this process."""

    def synchronize(self) -> None:
        """Wait until all queued work is done."""

    def mark_step(self) -> None:
        """End a piece of work, on devices that collect work lazily."""

    def graph_capturer(self) -> GraphCapturer | None:
        """Return a new capturer of training steps, or None if they run eagerly here."""
        return None

    def benchmarking(self, *, enabled: bool) -> AbstractContextManager[None]:
        """Return a context in which the device's library may time its kernels for shapes that are new.

        It takes seconds for each shape, so only devices that compile do it, and for whole batches only.
        """
        return nullcontext()

    def use_compiler(self) -> None:
        """Compile passes of whole batches from now on.

        Raises RequestError if the device has no compiler.
        """
        raise RequestError(f"passes on {self.device_type} are not compiled: leave out --compile")

    def compile_options(self) -> dict[str, Any]:
        """Return the options of the backend of torch.compile."""
        return {}

    def compile_backend(self) -> str | None:
        """Return the backend of torch.compile for passes of whole batches, or None to compute eagerly."""
        return None

    def make_lr(self, lr: float) -> float | torch.Tensor:
        """Return a learning rate in the form that optimizers take here.

        A tensor is read again at every replay of a captured step; it requires fused optimizers.
        """
        return lr

    def max_memory_allocated(self) -> int | None:
        """Return the peak memory in bytes since `reset_peak_memory_stats`, or None if it is not known."""
        return None

    def reset_peak_memory_stats(self) -> None:
        """Start a new measurement of the peak memory."""

    def total_memory(self) -> int | None:
        """Return the bytes of memory that `names` have each, or None if runs need not be fitted into it."""
        return None

    def sharing_advice(self) -> str | None:
        """Return how several runs could share the device better than they would now, or None."""
        return None

    def limit_memory(self, num_processes: int) -> None:
        """Limit this process to its share of the device's memory, which `num_processes` use."""

    def empty_cache(self) -> None:
        """Release memory that is cached and unused, so that other processes can have it."""

    def read_energy(self) -> Reading | None:
        """Read the device's own energy counters, or return None if it has none."""
        return None

    def autocast(self, precision: str) -> AbstractContextManager[object]:
        """Return the context in which a forward pass computes in `precision`. Raises RequestError."""
        self.check_precision(precision)
        dtype = AUTOCAST.get(precision)
        return nullcontext() if dtype is None else torch.autocast(self.device_type, dtype=dtype)

    @classmethod
    def check_precision(cls, precision: str) -> None:
        """Raise RequestError if these devices do not compute in `precision`."""
        if precision not in cls.supported_precisions():
            allowed = ", ".join(cls.supported_precisions())
            raise RequestError(
                f"precision={precision} is not allowed on {cls.device_type}: it can be {allowed}"
                f"{did_you_mean(precision, cls.supported_precisions())}"
            )

    @classmethod
    def supported_precisions(cls) -> tuple[str, ...]:
        """Return the precisions that recipes may ask for."""
        return ("fp32", "bf16")

    def memory_format(self, model: nn.Module) -> torch.memory_format:
        """Return the memory format of images and convolution weights in which a model is fastest."""
        return torch.contiguous_format

    def prepare_model(self, model: nn.Module) -> nn.Module:
        """Return the model on this device, in its fastest form."""
        for module in model.modules():
            if isinstance(module, PreparesForDevice):
                module.prepare_for(self)
        return model.to(self.torch_device).to(memory_format=self.memory_format(model))


def arranged(x: torch.Tensor, memory_format: torch.memory_format) -> torch.Tensor:
    """Return examples in a memory format that images (b, c, h, w) can have; others are contiguous."""
    return x.contiguous(memory_format=memory_format if x.dim() == 4 else torch.contiguous_format)


def has_volumes(model: nn.Module) -> bool:
    """Return whether a model has weights of five dimensions, which torch cannot store channels last."""
    return any(weight.dim() == 5 for weight in (*model.parameters(), *model.buffers()))
