"""Forward passes through a device's own compiler: of whole batches alone, so that shapes are static."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from plastibench.devices import Device
from plastibench.devices.graph_capture import Say

RECOMPILE_LIMIT = 64
"""How often torch may compile anew in one process: for each kind of model, once in training and once in
evaluation. After its own 8 it would silently compile no more, and leave the later runs of a grid slow."""


class CompiledForward:
    """Computes forward passes: whole batches compiled, where the device has a compiler, others as they come.

    An odd last batch has another size in every stage. Each would be compiled for minutes to be used once an
    epoch, so it is computed operation by operation. The weights, buffers and modes are those that the model
    has at each call, and nothing is added to it: its names, a copy of it and its checkpoint are as ever.
    """

    def __init__(self, device: Device, whole: int, say: Say = lambda _: None) -> None:
        """Prepare for batches of `whole` examples; `say` is told where torch lacks the device's compiler."""
        self._whole = whole
        wanted, self._backend = device.compile_backend(), backend(device)
        self._known: tuple[nn.Module, Callable[[Tensor], Tensor]] | None = None
        if wanted != self._backend:
            say(f"torch has no compiler {wanted!r} here: passes are computed operation by operation")

    def __call__(self, model: nn.Module, images: Tensor) -> Tensor:
        """Return the logits (b, classes) of images (b, c, h, w)."""
        if self._backend is None or len(images) != self._whole:
            logits: Tensor = model(images)
            return logits
        if self._known is None or self._known[0] is not model:
            self._known = model, _compiled(model, self._backend)
        return self._known[1](images)


def backend(device: Device) -> str | None:
    """Return the compiler that passes on a device go through; None where none is used."""
    wanted = device.compile_backend()
    return wanted if wanted is not None and is_registered(wanted) else None


def is_registered(name: str) -> bool:
    """Return whether torch knows a compiler of this name: a vendor's plug-in brings its own."""
    return name in torch.compiler.list_backends()


def _compiled(model: nn.Module, compiler: str) -> Callable[[Tensor], Tensor]:
    """Return the model compiled; another one of the same layers takes what was compiled for the first."""
    limit: int = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(RECOMPILE_LIMIT, limit)
    return torch.compile(model, backend=compiler, dynamic=False)
