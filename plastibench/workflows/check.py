"""Run the laws over a plug-in of the user, and say of each whether it holds, and if not, why."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from plastibench.errors import RequestError
from plastibench.plugins.plugin import Plugin
from plastibench.runner.worker import keep_num_threads
from plastibench.runner.workspace import Workspace
from plastibench.testing.law_suite import LawResult
from plastibench.testing.law_tasks import LawTasks
from plastibench.testing.method_check import MethodCheck
from plastibench.testing.model_check import ModelCheck

CHECKS: dict[str, type[MethodCheck] | type[ModelCheck]] = {"method": MethodCheck, "model": ModelCheck}
"""What runs the laws of each kind of plug-in that has laws."""


@dataclass(frozen=True, kw_only=True)
class CheckRequest:
    """The file of a plug-in to check."""

    file: Path
    workspace: Workspace
    """Has the file among its plug-ins."""
    fail_fast: bool = False
    """Whether to end at the first law that is broken."""


def check(
    request: CheckRequest, on_result: Callable[[LawResult], None] = lambda result: None
) -> list[LawResult]:
    """Run the laws on the CPU; `on_result` is called as soon as each has been tried.

    A method is tried with the settings at which it acts, its presets and its other choices, and on several
    models; a model is trained without a remedy. Raises RequestError for a file that breaks its contract, and
    for a plug-in that has no laws.
    """
    registry = request.workspace.registry
    (plugin,) = (one for one in registry.own if _file_of(one) == request.file.resolve())
    if plugin.kind not in CHECKS:
        raise RequestError(
            f"{request.file} has a {plugin.kind}: there are laws for a {' and a '.join(CHECKS)}"
        )
    import torch

    found = []
    with keep_num_threads():
        torch.set_num_threads(1)  # on so few images more threads only wait for each other
        for result in CHECKS[plugin.kind](plugin, LawTasks(registry)).results():
            on_result(result)
            found.append(result)
            if request.fail_fast and result.verdict == "failed":
                break
    return found


def _file_of(plugin: Plugin) -> Path | None:
    source = plugin.own_source()
    return None if source is None else source.path
