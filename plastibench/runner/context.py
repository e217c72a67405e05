"""The context of runs: folders, device and resources."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from plastibench.plugins.registry import Registry
from plastibench.plugins.task import DataContext
from plastibench.runner.workspace import Workspace
from plastibench.store.checkpoint import Checkpoint
from plastibench.store.checkpoint_storage import open_checkpoint
from plastibench.store.run_store import Store


@dataclass(frozen=True)
class RunContext:
    """Where and with what runs are executed; none of it decides a run's id. It travels like its workspace."""

    workspace: Workspace
    device: str
    """Name of the device, such as cpu or cuda:1."""
    threads: int | None = None
    """Threads of a run on the CPU; None leaves torch's default."""
    num_processes: int = 1
    """Processes that use the device at once, each with its share of the device memory."""
    devices: int = 1
    """Devices that each run is trained on, by a process for each."""
    checkpoint_interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    deterministic: bool = False
    """Whether to use deterministic algorithms if the device has a choice."""
    compile: bool = False
    """Whether to compile the passes of whole batches if the device has a choice."""
    run_timeout: float | None = None
    """Seconds after which a run is stopped at a checkpoint, from its start or resumption on; None: never."""
    checkpoint_storage: str | None = None
    """Folder or address (of fsspec) of the checkpoints; None keeps them beside the runs."""
    keeps_checkpoint: bool = False
    """Whether the checkpoint of a finished run stays until another machine has written its record."""
    data_checksums: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Checksums of the data by condition, which other machines must have, too."""

    @property
    def store(self) -> Store:
        """Return the store in the home folder."""
        return self.workspace.store

    @property
    def registry(self) -> Registry:
        """Return the plug-ins that runs may use."""
        return self.workspace.registry

    @cached_property
    def data_context(self) -> DataContext:
        """Return what tasks load their data with. Raises RequestError if there is no such device."""
        from plastibench.devices import get_device

        device = get_device(self.device)
        if self.compile:
            device.use_compiler()
        return DataContext(device, self.workspace.data, self.workspace.cache)

    def checkpoint(self, run: str) -> Checkpoint:
        """Return the checkpoint of a run. Raises RequestError if there is no such storage."""
        return open_checkpoint(self.checkpoint_storage, self.store.folder(run), run)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what each process makes for itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
