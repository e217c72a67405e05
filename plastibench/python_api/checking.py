"""The function that tries the laws on a plug-in: `check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from plastibench.workflows.arguments import Classes, WorkspaceArguments, workspace

if TYPE_CHECKING:
    import pandas as pd


def check(
    plugin: str | type,
    *,
    fail_fast: bool = False,
    progress: bool | None = None,
    **arguments: Unpack[WorkspaceArguments],
) -> pd.DataFrame:
    """Run the laws over a method, model, probe or task, as `plastibench check` does: on the CPU, in seconds.

    Args:
        plugin: A class, or the name of a plug-in.
        fail_fast: Whether to end at the first law that is broken.
        progress: Whether to show how far it is. Default: in a notebook and on a terminal.
        **arguments: home, data and plugins, as for `run`.

    Returns:
        A data frame with a row for each law: law, verdict (passed, failed or not applicable) and detail,
            which says what differs, the likely cause and the line, or why the law does not apply.

    Raises:
        RequestError: If the class breaks its contract, or there is no such plug-in.

    Example:
        >>> laws = plastibench.check("dash")
        >>> laws.verdict.value_counts()

    """
    import pandas as pd

    from plastibench.display.laws import LawProgress
    from plastibench.display.shown import progress_shown
    from plastibench.plugins.plugin import KINDS
    from plastibench.workflows import check as workflow

    classes, name = Classes(workspace(arguments, WorkspaceArguments)), str(plugin)
    if isinstance(plugin, type):
        kinds = [kind for kind in workflow.CHECKS if issubclass(plugin, KINDS[kind].base_class())]
        (name,) = classes.names(kinds[0] if kinds else "method", plugin) or ()
    request = workflow.CheckRequest(name=name, workspace=classes.workspace, fail_fast=fail_fast)
    with progress_shown(LawProgress, progress) as shown:
        results = workflow.check(request, *(display.on_result for display in shown))
    return pd.DataFrame([vars(result) for result in results])
