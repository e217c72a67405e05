"""Independent counts of what a run really computes, to compare its counted cost with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry


@dataclass
class PassCounts:
    """Examples that went through whole models."""

    forward_backward: int = 0
    forward_only: int = 0


@contextmanager
def count_passes(num_classes: int) -> Iterator[PassCounts]:
    """Count the examples that go through whole models: an independent count of the cost.

    A model is taken to be a module that no other module calls, and that returns logits (b, num_classes).
    """
    passes, running = PassCounts(), list[nn.Module]()

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        running.append(module)

    def after(module: nn.Module, inputs: tuple[Any, ...], logits: object) -> None:
        running.pop()
        if running or not isinstance(logits, Tensor) or logits.shape[1:] != (num_classes,):
            return
        if _is_traced(logits) or not any(True for _ in module.parameters()):
            return
        if torch.is_grad_enabled():
            passes.forward_backward += len(logits)
        else:
            passes.forward_only += len(logits)

    handles = [
        register_module_forward_pre_hook(before),
        register_module_forward_hook(after, always_call=True),
    ]
    try:
        yield passes
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def real_flops_counter() -> Iterator[FlopCounterMode]:
    """Count every operation with torch's counter, without those that are traced only.

    It does not know the fused kernels of attention and recurrent layers, so these run unfused.
    """
    formulas = {op: _of_data(count) for op, count in flop_registry.items()}
    fused = torch.backends.mha.get_fastpath_enabled(), torch.backends.mkldnn.enabled
    torch.backends.mha.set_fastpath_enabled(False)
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with (
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False, custom_mapping=formulas) as counter,
        ):
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fused[0])
        torch.backends.mkldnn.enabled = fused[1]


def _of_data(count: Callable[..., int]) -> Callable[..., int]:
    """Return a formula that is 0 for operations that compute nothing."""

    def formula(*args: Any, out_val: Any, **kwargs: Any) -> int:  # noqa: ANN401 - as torch calls it
        return 0 if any(map(_is_traced, tree_leaves(out_val))) else count(*args, out_val=out_val, **kwargs)

    formula._get_raw = True  # type: ignore[attr-defined]  # tensors instead of their shapes
    return formula


def _is_traced(value: object) -> bool:
    """Return whether a tensor holds no data: FLOPs are traced on the meta device, torch.compile has fakes."""
    return isinstance(value, Tensor) and (isinstance(value, FakeTensor) or value.is_meta)
