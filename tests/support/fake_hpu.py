"""A stand-in for Intel Gaudi: a device called "hpu" whose tensors live on the CPU, and what it was asked.

It proves where tensors are placed, seeding, the place of mark_step, the entry into autocast and how
often the host waits. It proves nothing about a card's numbers, speed, memory, graph compilation or
operators. It renames a device of this process for good, so it is used in processes of their own.
"""

from __future__ import annotations

import os
import sys
import types
from collections import Counter
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any

import torch
import torch.distributed as dist
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

calls: Counter[str] = Counter()
"""What the device was asked, and how often."""
ops: Counter[str] = Counter()
"""Operators that ran."""
_kept: list[Any] = []


class Backend(_DummyBackendModule):
    """What becomes torch.hpu."""

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def _lazy_init(self) -> None: ...

    def _is_in_bad_fork(self) -> bool:
        return False

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def set_device(self, device: Any) -> None:
        calls["set_device"] += 1

    def synchronize(self) -> None:  # the real one takes no device
        calls["synchronize"] += 1

    def manual_seed(self, seed: int) -> None:
        calls["manual_seed"] += 1

    def manual_seed_all(self, seed: int) -> None:
        calls["manual_seed_all"] += 1

    def get_rng_state(self, device: Any = "hpu") -> torch.Tensor:
        _check_number(device)
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = "hpu") -> None:
        _check_number(device)
        torch.set_rng_state(state)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def memory_allocated(self, device: Any = None) -> int:
        return 0

    def max_memory_allocated(self, device: Any = None) -> int:
        return 0

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        calls["reset_peak_memory_stats"] += 1

    def get_device_name(self, device: Any = None) -> str:
        return "stand-in for Gaudi"


class HpuTensor(torch.Tensor):
    """A tensor that says it is on "hpu" and holds one on the CPU."""

    cpu_: torch.Tensor

    @staticmethod
    def __new__(cls: type[HpuTensor], cpu: torch.Tensor) -> HpuTensor:
        return torch.Tensor._make_wrapper_subclass(
            cls,
            cpu.size(),
            strides=cpu.stride(),
            storage_offset=cpu.storage_offset(),
            dtype=cpu.dtype,
            layout=cpu.layout,
            device=torch.device("hpu", 0),
        )

    def __init__(self, cpu: torch.Tensor) -> None:
        self.cpu_ = cpu

    def __repr__(self) -> str:  # type: ignore[override]
        return f"HpuTensor({self.cpu_})"

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["cpu_"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Any], meta: Any, size: Any, stride: Any) -> HpuTensor:
        return HpuTensor(inner["cpu_"])

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch declares it without cls
        cls, function: Any, kinds: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    ops[str(function)] += 1
    target, seen = kwargs.get("device"), set()

    def unwrap(value: Any) -> Any:
        if isinstance(value, HpuTensor):
            seen.add("hpu")
            return value.cpu_
        if isinstance(value, torch.Tensor) and value.dim():
            seen.add("cpu")
        return value

    plain_args, plain_kwargs = tree_map(unwrap, (args, kwargs))
    if len(seen) == 2 and "copy" not in str(function):
        raise RuntimeError(f"tensors on cpu and hpu mixed in {function}")
    if target is not None and torch.device(target).type == "hpu":  # and not meta, where FLOPs are traced
        plain_kwargs["device"] = "cpu"
    plain_kwargs.pop("pin_memory", None)
    out = function(*plain_args, **plain_kwargs)
    to_host = target is not None and torch.device(target).type == "cpu"
    if "hpu" in seen and (to_host or function is torch.ops.aten._local_scalar_dense.default):
        calls["host_sync"] += 1
    if out is None:
        return None
    if function.namespace == "c10d":  # its operations change their tensors, and return them with their work
        return args[0], out[1]
    if function._schema.name.split("::")[1].endswith("_"):
        return args[0]  # in place: the wrapper stays the same one
    on_hpu = torch.device(target).type == "hpu" if target is not None else "hpu" in seen
    return tree_map(lambda x: HpuTensor(x) if on_hpu and isinstance(x, torch.Tensor) else x, out)


class FakeHpu(TorchDispatchMode):
    """Inside it, factories with device="hpu" work too."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, function: Any, kinds: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _check_number(device: Any) -> None:
    """Raise what the card does for another number than that of the only card of a process."""
    if torch.device(device).index not in {None, 0}:
        raise RuntimeError("hpu get_rng_state supports only device 0")


def _autocast() -> None:
    every = torch.library.Library("_", "IMPL")
    every.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")
    _kept.extend([every, aten])
    keys: Any = torch._C.DispatchKey
    off = torch._C.DispatchKeySet(keys.AutocastPrivateUse1)

    def lower(op: Any) -> Any:
        def kernel(*args: Any, **kwargs: Any) -> Any:
            dtype = torch.get_autocast_dtype("hpu")

            def cast(x: Any) -> Any:
                if isinstance(x, torch.Tensor) and x.dtype == torch.float32 and x.device.type == "hpu":
                    return x.to(dtype)
                return x

            with torch._C._ExcludeDispatchKeyGuard(off):
                return op(*tree_map(cast, args), **tree_map(cast, kwargs))

        return kernel

    for name in ("conv2d", "linear", "matmul", "mm", "addmm", "bmm"):
        aten.impl(name, lower(getattr(torch.ops.aten, name)), "AutocastPrivateUse1")


def install() -> None:
    """Make the device; once a process."""
    _setup_privateuseone_for_python_backend("hpu", backend_module=Backend())
    _autocast()
    names = ("habana_frameworks", "habana_frameworks.torch", "habana_frameworks.torch.core")
    top, inner, core = (types.ModuleType(name) for name in names)

    def mark_step(*args: Any, **kwargs: Any) -> None:
        calls["mark_step"] += 1  # the real one does nothing in eager mode

    core.mark_step = mark_step  # type: ignore[attr-defined]
    inner.core, inner.hpu, top.torch = core, torch.hpu, inner  # type: ignore[attr-defined]
    for module in (top, inner, core):
        module.__path__ = []
        sys.modules[module.__name__] = module
    sys.modules["habana_frameworks.torch.hpu"] = torch.hpu  # type: ignore[attr-defined]
    sys.meta_path.insert(0, Hccl())


class Hccl(MetaPathFinder, Loader):
    """Finds the module whose import makes the backend of several cards known: here gloo, on the CPU."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        parts = ("habana_frameworks.torch.distributed", "habana_frameworks.torch.distributed.hccl")
        return ModuleSpec(name, self, is_package=True) if name in parts else None

    def exec_module(self, module: types.ModuleType) -> None:
        if module.__name__.endswith(".hccl"):
            calls["hccl"] += 1
            module.initialize_distributed_hpu = _initialize  # type: ignore[attr-defined]
            os.environ["MASTER_ADDR"] = "localhost"  # as the real one does, if it finds no launcher's
            dist.Backend.register_backend("hccl", dist.ProcessGroupGloo, devices=["hpu"])


def _initialize(world_size: int, rank: int, local_rank: int) -> None:
    os.environ.update(WORLD_SIZE=str(world_size), RANK=str(rank), LOCAL_RANK=str(local_rank))
