"""The devices a run can use, behind one seam. Nothing outside this file knows which one it is."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from plastibench import energy, memory
from plastibench.errors import RequestError, unknown
from plastibench.machine import num_cores, processor

if TYPE_CHECKING:
    from plastibench.capture import Recorder

AUTOCAST = {"bf16": torch.bfloat16}


class Device:
    """A device that can train. `torch` is what tensors are moved to."""

    kind: ClassVar[str]
    matrix_side: ClassVar[int] = 8192
    """Side of square matrices whose product shows the peak rate: more would only take longer."""

    def __init__(self, index: int | None = None) -> None:
        self.torch = torch.device(self.kind) if index is None else torch.device(self.kind, index)

    def __str__(self) -> str:
        """Return the name torch gives it."""
        return str(self.torch)

    @classmethod
    def absent(cls) -> str | None:
        """Return why this kind of device cannot be used here, or None."""
        return None

    @classmethod
    def count(cls) -> int:
        """Return how many there are."""
        return 1

    def name(self) -> str:
        """Return the name of the hardware."""
        raise NotImplementedError

    def side_by_side(self) -> int:
        """Return how many runs go side by side on it unless a user says otherwise."""
        return 1

    def seed(self, seed: int) -> None:
        """Seed the global streams that layers such as dropout draw from, on the CPU and here."""
        torch.manual_seed(seed)

    def streams(self) -> list[torch.Tensor]:
        """Return the states of the global streams that `seed` sets."""
        return [torch.get_rng_state()]

    def restore_streams(self, states: list[torch.Tensor]) -> None:
        """Set the global streams to states that `streams` returned."""
        torch.set_rng_state(states[0])

    def is_deterministic(self) -> bool:
        """Return whether the same work gives the same bits here, as things are set in this process."""
        return False

    def be_deterministic(self) -> None:
        """From now on, in this process, give the same bits for the same work. Raises RequestError."""
        raise RequestError(f"nothing makes {self.kind} give the same bits twice: leave --deterministic out")

    def synchronise(self) -> None:
        """Wait until everything queued here is done."""

    def mark_step(self) -> None:
        """Say that a piece of work is complete, where the device collects work until told."""

    def recorder(self) -> Recorder | None:
        """Return what records work here so that it can be replayed, or None where nothing does."""
        return None

    def compiler(self) -> str | None:
        """Return the backend of torch.compile that passes of whole batches go through here, or None."""
        return None

    def rate(self, rate: float) -> float | torch.Tensor:
        """Return a learning rate as optimizers take it here.

        A tensor is read anew at every replay of a recorded step, and asks for optimizers that are fused.
        """
        return rate

    def peak_memory(self) -> int | None:
        """Return the most bytes held since `reset_peak_memory`, or None where that is not known."""
        return None

    def reset_peak_memory(self) -> None:
        """Start a new peak."""

    def share(self, runs: int) -> None:
        """Let this process hold no more than its part of the device's memory: `runs` of them use it."""

    def give_back(self) -> None:
        """Give memory that is held and not used back to the device: others may want it."""

    def energy(self) -> energy.Reading | None:
        """Read the device's own energy counters, or return None where it has none."""
        return None

    def precision(self, precision: str) -> AbstractContextManager[object]:
        """Return the context in which a forward pass computes in `precision`."""
        if precision not in self.precisions():
            allowed = ", ".join(self.precisions())
            raise RequestError(f"precision={precision} is not allowed on {self.kind}: it can be {allowed}")
        dtype = AUTOCAST.get(precision)
        return nullcontext() if dtype is None else torch.autocast(self.kind, dtype=dtype)

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return the precisions that exist here."""
        return ("fp32", "bf16")

    def layout(self, model: nn.Module) -> torch.memory_format:
        """Return the layout of images and convolution weights in which a model is fastest here."""
        return torch.contiguous_format

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model on this device, in its fastest layout."""
        return model.to(self.torch).to(memory_format=self.layout(model))


class Cpu(Device):
    """The processor."""

    kind = "cpu"
    matrix_side = 2048

    def layout(self, model: nn.Module) -> torch.memory_format:
        """Return channels last, except for models on which torch's kernel for it fails.

        torch 2.15 writes outside its memory in the backward pass of a strided 1x1 convolution of
        fewer than 16 channels on images of 56x56 and more, in this layout alone.
        """
        narrow = any(
            isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.stride != (1, 1) and m.in_channels < 16
            for m in model.modules()
        )
        return torch.contiguous_format if narrow else torch.channels_last

    def name(self) -> str:
        """Return the processor's name and how many threads are used."""
        return f"{processor()}, {num_cores()} cores"

    def energy(self) -> energy.Reading | None:
        """Read the counters of the processor's packages."""
        return energy.processor()

    def side_by_side(self) -> int:
        """Return the number of cores: small runs gain more from company than from threads."""
        return num_cores()

    def is_deterministic(self) -> bool:
        """Return True: with as many threads, the processor always does the same."""
        return True

    def be_deterministic(self) -> None:
        """Do nothing."""

    def place(self, model: nn.Module) -> nn.Module:
        """Return the model in its fastest layout; from now on this process holds its memory."""
        memory.hold()
        return super().place(model)


class Cuda(Device):
    """An NVIDIA (or, through ROCm, AMD) GPU."""

    kind = "cuda"

    def layout(self, model: nn.Module) -> torch.memory_format:
        """Return channels last: the layout of tensor cores."""
        return torch.channels_last

    @classmethod
    def absent(cls) -> str | None:
        """Return why CUDA cannot be used here, or None."""
        return None if torch.cuda.is_available() else "torch sees no CUDA device on this machine"

    @classmethod
    def count(cls) -> int:
        """Return how many GPUs torch sees."""
        return torch.cuda.device_count()

    @classmethod
    def precisions(cls) -> tuple[str, ...]:
        """Return the precisions that exist here."""
        return ("fp32", "tf32", "bf16")

    def name(self) -> str:
        """Return the GPU's name."""
        return torch.cuda.get_device_name(self.torch)

    def seed(self, seed: int) -> None:
        """Seed the CPU and every GPU."""
        torch.manual_seed(seed)

    def streams(self) -> list[torch.Tensor]:
        """Return the states of the CPU's stream and the GPU's."""
        return [*super().streams(), torch.cuda.get_rng_state(self.torch)]

    def restore_streams(self, states: list[torch.Tensor]) -> None:
        """Set the CPU's stream and the GPU's."""
        super().restore_streams(states)
        torch.cuda.set_rng_state(states[1], self.torch)

    def is_deterministic(self) -> bool:
        """Return whether torch was told to use such kernels alone."""
        return torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark

    def be_deterministic(self) -> None:
        """Tell torch, cuDNN and cuBLAS; an operation without such a kernel raises an error from now on."""
        # cuBLAS reads it when it is first used: before that, torch refuses to multiply matrices.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.benchmark = False
        torch.use_deterministic_algorithms(True)

    def synchronise(self) -> None:
        """Wait for the GPU."""
        torch.cuda.synchronize(self.torch)

    def recorder(self) -> Recorder | None:
        """Return CUDA graphs: Python launches the kernels of a small batch slower than they run."""
        from plastibench.graphs import CudaGraphs

        return CudaGraphs(self.torch)

    def rate(self, rate: float) -> float | torch.Tensor:
        """Return a tensor on the GPU."""
        return torch.tensor(rate, device=self.torch)

    def energy(self) -> energy.Reading | None:
        """Read the GPU's counter through NVML."""
        return energy.gpu(self.torch)

    def peak_memory(self) -> int | None:
        """Return the most bytes allocated since the last reset."""
        return torch.cuda.max_memory_allocated(self.torch)

    def reset_peak_memory(self) -> None:
        """Start a new peak."""
        torch.cuda.reset_peak_memory_stats(self.torch)

    def share(self, runs: int) -> None:
        """Limit torch's allocator; what the driver holds for each process comes on top."""
        torch.cuda.set_per_process_memory_fraction(1 / runs, self.torch.index)

    def give_back(self) -> None:
        """Empty torch's cache."""
        torch.cuda.empty_cache()

    def precision(self, precision: str) -> AbstractContextManager[object]:
        """Return the context of a forward pass; TF32 is a global switch, set to match each time."""
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        return super().precision(precision)


class Hpu(Device):
    """An Intel Gaudi card. No card has run this yet; tests use a stand-in backed by the CPU."""

    kind = "hpu"

    @classmethod
    def absent(cls) -> str | None:
        """Return why Gaudi cannot be used here, or None."""
        if not hasattr(torch, "hpu") and importlib.util.find_spec("habana_frameworks") is not None:
            importlib.import_module("habana_frameworks.torch")
        if hasattr(torch, "hpu") and torch.hpu.is_available():
            return None
        return "torch sees no Gaudi card on this machine (is habana_frameworks installed?)"

    @classmethod
    def count(cls) -> int:
        """Return how many cards torch sees."""
        return int(_hpu().device_count())

    def name(self) -> str:
        """Return the card's name."""
        return str(_hpu().get_device_name())

    def seed(self, seed: int) -> None:
        """Seed the CPU and the cards: torch's own manual_seed knows nothing of the latter."""
        torch.manual_seed(seed)
        _hpu().manual_seed_all(seed)

    def streams(self) -> list[torch.Tensor]:
        """Return the states of the CPU's stream and the card's."""
        return [*super().streams(), _hpu().get_rng_state()]

    def restore_streams(self, states: list[torch.Tensor]) -> None:
        """Set the CPU's stream and the card's."""
        super().restore_streams(states)
        _hpu().set_rng_state(states[1])

    def synchronise(self) -> None:
        """Wait for the card."""
        _hpu().synchronize()

    def mark_step(self) -> None:
        """End a lazily collected graph; in eager mode there is none, and the call would only warn."""
        if _lazy():
            _mark_step()()

    def compiler(self) -> str | None:
        """Return the vendor's, by which eager mode is meant to be fast; lazy mode makes graphs by itself."""
        return None if _lazy() else "hpu_backend"

    def peak_memory(self) -> int | None:
        """Return the most bytes allocated since the last reset."""
        return int(_hpu().max_memory_allocated())

    def reset_peak_memory(self) -> None:
        """Start a new peak."""
        _hpu().reset_peak_memory_stats()


KINDS: dict[str, type[Device]] = {kind.kind: kind for kind in (Cpu, Cuda, Hpu)}


def pick(text: str) -> Device:
    """Return the device named `text`, such as "cpu", "cuda" or "cuda:1".

    Raises RequestError for an unknown name and for a device that is not there: never another one
    in its place.
    """
    kind, _, index = text.partition(":")
    if kind not in KINDS:
        raise unknown("device", text, KINDS)
    reason = KINDS[kind].absent()
    if reason is not None:
        raise RequestError(f"device {text!r} cannot be used: {reason}")
    if not index:
        return KINDS[kind]()
    if not index.isdecimal() or int(index) >= KINDS[kind].count():
        raise RequestError(
            f"no device {text!r}: {kind} devices here are numbered 0 to {KINDS[kind].count() - 1}"
        )
    return KINDS[kind](int(index))


def _hpu() -> Any:  # noqa: ANN401 - a module that only the vendor's plug-in adds to torch
    return vars(torch)["hpu"]


def _lazy() -> bool:
    """Return whether work is collected until told, which was the default before the vendor's release 1.21."""
    return os.environ.get("PT_HPU_LAZY_MODE") == "1"


def _mark_step() -> Callable[[], None]:
    core = importlib.import_module("habana_frameworks.torch.core")
    return core.mark_step  # type: ignore[no-any-return]
