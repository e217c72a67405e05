"""The context of runs: folders, device and resources."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext
from plastibench.store.run_store import Store


@dataclass(frozen=True)
class RunContext:
    """Where and with what runs are executed; none of it decides a run's id.

    The fields are plain values that travel to other processes; what is derived from them is made once a
    process.
    """

    home: Path
    data: Path
    cache: Path
    device: str
    """Name of the device, such as cpu or cuda:1."""
    plugins: tuple[Path, ...] = ()
    """Files of the user's plug-ins."""
    threads: int | None = None
    """Threads of a run on the CPU; None leaves torch's default."""
    num_processes: int = 1
    """Processes that use the device at once, each with its share of the device memory."""
    checkpoint_interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    deterministic: bool = False
    """Whether to use deterministic algorithms if the device has a choice."""

    @cached_property
    def store(self) -> Store:
        """Return the store in the home folder."""
        return Store(self.home)

    @cached_property
    def registry(self) -> Registry:
        """Return the plug-ins that runs may use."""
        return Registry(self.plugins)

    @cached_property
    def data_context(self) -> DataContext:
        """Return what tasks load their data with. Raises RequestError if there is no such device."""
        from plastibench.devices import get_device

        return DataContext(device=get_device(self.device), data=self.data, cache=self.cache)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes for itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
