"""The executors by name, and the one that the user chose."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plastibench.errors import RequestError, unknown

if TYPE_CHECKING:
    from plastibench.runner.context import RunContext
    from plastibench.runner.executors.base import Executor


@dataclass(frozen=True)
class ExecutorKind:
    """A kind of executor."""

    module: str
    """Where its function `make` is; imported when it is used."""
    is_remote: bool = False
    """Whether runs are executed on other machines, which alone need the device."""


EXECUTORS = {
    "local": ExecutorKind("plastibench.runner.executors.local"),
    "ray": ExecutorKind("plastibench.runner.executors.ray.executor", is_remote=True),
}


@dataclass(frozen=True, kw_only=True)
class ExecutorChoice:
    """An executor, and how it is used."""

    name: str = "local"
    address: str | None = None
    """The cluster; None is the usual one."""
    jobs: int | None = None
    """Runs side by side on a cluster; None is as many as there is room for."""
    device_share: float | None = None
    """Part of a device that a run on a cluster takes; None is the whole."""

    def __post_init__(self) -> None:
        """Raise RequestError for an unknown name, and for options that mean nothing."""
        if self.name not in EXECUTORS:
            raise unknown("executor", self.name, EXECUTORS)
        given = {"--address": self.address, "--device-share": self.device_share}
        for option, value in given.items():
            if value is not None and not self.is_remote:
                raise RequestError(f"{option} means nothing with --executor {self.name}: leave it out")

    @property
    def is_remote(self) -> bool:
        """Return whether runs are executed on other machines."""
        return EXECUTORS[self.name].is_remote

    def make(self, context: RunContext) -> Executor:
        """Return the executor, which has not started anything. Raises RequestError for wrong options."""
        made: Executor = importlib.import_module(EXECUTORS[self.name].module).make(context, self)
        return made
