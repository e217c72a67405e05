"""Forward passes through a device's own compiler, for whole batches only, so that shapes are static."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from plastibench.devices import Device
from plastibench.errors import explain

LogFunction = Callable[[str], None]
RECOMPILE_LIMIT = 64
"""How often torch may compile in one process: for each architecture once in training and once in evaluation.
After its default of 8 it would silently stop compiling, and the later runs of a grid would be slow."""


class CompiledForward:
    """Computes forward passes: whole batches compiled, if the device has a compiler, others eagerly.

    An odd last batch has another size in every stage; compiling each one would take minutes, for one use per
    epoch. The weights, buffers and modes are those that the model has at each call, and nothing is added to
    the model: its names, a copy of it and its checkpoint stay the same.
    """

    def __init__(self, device: Device, batch_size: int, on_log: LogFunction = lambda message: None) -> None:
        """Prepare for batches of `batch_size`; a compiler that torch does not have is logged."""
        self._batch_size, self._on_log = batch_size, on_log
        self._backend, self._options = available_backend(device), device.compile_options()
        self._compiled: tuple[nn.Module, Callable[[Tensor], Tensor]] | None = None
        if device.compile_backend() != self._backend:
            on_log(f"torch has no compiler {device.compile_backend()!r} here: passes are computed eagerly")

    def compiles(self, images: Tensor) -> bool:
        """Return whether the pass of a batch is compiled."""
        return self._backend is not None and len(images) == self._batch_size

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return the logits (b, classes) of images (b, c, h, w)."""
        if self._backend is not None and self.compiles(images):
            try:
                return self._compiled_forward(model, self._backend)(images)
            except Exception as error:
                if not _is_from_compiler(error):
                    raise
                # There is no C compiler, for example, or the model does what the backend cannot translate.
                self._backend = None
                reason = explain(getattr(error, "inner_exception", error))
                self._on_log(f"the model cannot be compiled, so passes are computed eagerly: {reason}")
        logits: Tensor = model(images)
        return logits

    def _compiled_forward(self, model: nn.Module, backend: str) -> Callable[[Tensor], Tensor]:
        if self._compiled is None or self._compiled[0] is not model:
            self._compiled = model, _compile(model, backend, self._options)
        return self._compiled[1]


def _is_from_compiler(error: Exception) -> bool:
    return isinstance(error, torch._dynamo.exc.TorchDynamoException)


def available_backend(device: Device) -> str | None:
    """Return the device's compiler, or None if it has none or torch does not have it."""
    name = device.compile_backend()
    return name if name in torch.compiler.list_backends() else None


def _compile(model: nn.Module, backend: str, options: dict[str, Any]) -> Callable[[Tensor], Tensor]:
    """Return the compiled model; models with the same layers share what was compiled for the first."""
    limit: int = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(RECOMPILE_LIMIT, limit)
    return torch.compile(model, backend=backend, options=options or None, dynamic=False)
