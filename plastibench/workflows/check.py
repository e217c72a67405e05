"""Run the laws over a plug-in of the user, and say of each whether it holds, and if not, why."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from plastibench.errors import unknown
from plastibench.plugins.task import DataContext
from plastibench.runner.worker import keep_torch_settings
from plastibench.runner.workspace import Workspace
from plastibench.system.output import plugins_to_stderr
from plastibench.testing.law_suite import LawResult
from plastibench.testing.law_tasks import LawTasks
from plastibench.testing.method_check import MethodCheck
from plastibench.testing.model_check import ModelCheck
from plastibench.testing.probe_check import ProbeCheck
from plastibench.testing.task_check import TaskCheck

CHECKS: dict[str, type[MethodCheck] | type[ModelCheck] | type[ProbeCheck] | type[TaskCheck]] = {
    "method": MethodCheck,
    "model": ModelCheck,
    "probe": ProbeCheck,
    "task": TaskCheck,
}
"""What runs the laws of each kind of plug-in that has laws."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """A plug-in to check."""

    name: str
    workspace: Workspace
    """Has it among its plug-ins."""
    fail_fast: bool = False
    """Whether to end at the first law that is broken."""


def check(
    request: CheckRequest, on_result: Callable[[LawResult], None] = lambda result: None
) -> list[LawResult]:
    """Run the laws on the CPU; `on_result` is called as soon as each has been tried.

    A method is tried with the settings at which it acts, its presets and its other choices, and on several
    models; a model is trained, and a probe measures, without a remedy; the stages of a task are read with
    its defaults. Raises RequestError for a file that breaks its contract, and if no plug-in that has laws
    has that name.
    """
    registry = request.workspace.registry
    kinds = [kind for kind in CHECKS if request.name in registry.names(kind)]
    if not kinds:
        known = [name for kind in CHECKS for name in registry.names(kind)]
        raise unknown("method, model, probe or task to check", request.name, known)
    plugin = registry.get(kinds[0], request.name)
    import torch

    found = []
    with keep_torch_settings():
        torch.set_num_threads(1)  # on so few images more threads only wait for each other
        results = CHECKS[plugin.kind](plugin, _tasks(request.workspace)).results()
        while (result := _next(results)) is not None:
            on_result(result)
            found.append(result)
            if request.fail_fast and result.verdict == "failed":
                break
    return found


def _tasks(workspace: Workspace) -> LawTasks:
    from plastibench.devices import get_device

    return LawTasks(workspace.registry, DataContext(get_device("cpu"), workspace.data, workspace.cache))


def _next(results: Iterator[LawResult]) -> LawResult | None:
    """Return the next result, while what the plug-in prints goes to stderr; None after the last one."""
    with plugins_to_stderr():
        return next(results, None)
