"""Intel Gaudi cards."""

import importlib.util
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar

import torch

from plastibench.devices.accelerator import Accelerator
from plastibench.errors import RequestError, count
from plastibench.system.packages import installed_version

PACKAGES = ("habana-torch-plugin", "habana-torch-dataloader")
"""The vendor's packages that compute."""


COLLECTIVES = "habana_frameworks.torch.distributed.hccl"
"""The vendor's module that registers its backend of torch.distributed."""
MODULE = "HLS_MODULE_ID"
"""The vendor's variable for the card that a process takes."""


class Hpu(Accelerator):
    """An Intel Gaudi card. Not yet run on a card: tests use a CPU-backed stand-in.

    A process takes one card and no other process can use it; torch's number of it is always 0.
    """

    device_type = "hpu"
    cluster_resource: ClassVar[str | None] = "HPU"
    is_shareable: ClassVar[bool] = False
    collectives = "hccl"
    visible_variable: ClassVar[str] = "HABANA_VISIBLE_MODULES"
    fallback_variables: ClassVar[Mapping[str, str]] = {"ENABLE_CONSOLE": "true", "LOG_LEVEL_PT_FALLBACK": "1"}

    def __init__(self, index: int | None = None) -> None:
        super().__init__(index)
        self.torch_device = torch.device(self.device_type)

    @classmethod
    def unavailable_reason(cls) -> str | None:
        """Return why Gaudi cannot be used here, or None if it can."""
        if not hasattr(torch, "hpu") and importlib.util.find_spec("habana_frameworks") is not None:
            importlib.import_module("habana_frameworks.torch")
        if hasattr(torch, "hpu") and torch.hpu.is_available():
            return None
        return "torch sees no Gaudi card on this machine (is habana_frameworks installed?)"

    @classmethod
    def load_collectives(cls, rank: int | None, size: int) -> None:
        """Import what registers HCCL, which the plug-in itself does not. Raises RequestError."""
        try:
            hccl = importlib.import_module(COLLECTIVES)
        except ImportError as error:
            raise RequestError(f"several Gaudi cards need Intel's HCCL, which is missing: {error}") from error
        if rank is not None:  # it reads the variables of torchrun by itself
            hccl.initialize_distributed_hpu(world_size=size, rank=rank, local_rank=rank)

    def make_current(self) -> None:
        """Let this process take the card of this number, before it takes any. Raises RequestError."""
        if self.index is None:
            return
        visible = os.environ.get(self.visible_variable) or ",".join(map(str, range(self.device_count())))
        modules = visible.split(",")
        if self.index >= len(modules):
            found = count(len(modules), "card")
            raise RequestError(f"no device {self}: {self.visible_variable}={visible} names {found}")
        os.environ[MODULE] = modules[self.index].strip()

    def synchronize(self) -> None:
        """Wait until all queued work is done, on the only card that a process has."""
        self.module().synchronize()

    def facts(self) -> dict[str, str]:
        """Return the mode, the versions of the vendor's packages, the cards, and what connects several."""
        mode = "lazy (PT_HPU_LAZY_MODE=1), which the vendor no longer develops" if _is_lazy() else "eager"
        found = {package: installed_version(package) or "not installed" for package in PACKAGES}
        visible = os.environ.get(self.visible_variable)
        limit = "" if visible is None else f" ({self.visible_variable}={visible})"
        return {
            "mode": mode,
            "plug-in": ", ".join(f"{name} {version}" for name, version in found.items()),
            "cards": f"{self.device_count()}{limit}",
            "collectives": self.collectives
            if _is_found(COLLECTIVES)
            else f"{self.collectives}, not installed",
        }

    def fallback_operators(self, log: str) -> list[str]:
        """Return what follows "CPU fallback" in the lines of the vendor's log."""
        return re.findall(r"CPU fallback (\w+)", log)

    def mark_step(self) -> None:
        """End a lazily collected graph; in eager mode the call would only warn."""
        if _is_lazy():
            importlib.import_module("habana_frameworks.torch.core").mark_step()

    def use_compiler(self) -> None:
        """Do nothing: passes are always compiled."""

    def compile_backend(self) -> str | None:
        """Return the vendor's backend, which makes eager mode fast; lazy mode builds graphs by itself."""
        return None if _is_lazy() else "hpu_backend"


def _is_lazy() -> bool:
    """Return whether work is collected lazily, the default before the vendor's release 1.21."""
    return os.environ.get("PT_HPU_LAZY_MODE") == "1"


def _is_found(module: str) -> bool:
    """Return whether a module of the vendor is there, without loading it."""
    with suppress(ImportError):
        return importlib.util.find_spec(module) is not None
    return False
