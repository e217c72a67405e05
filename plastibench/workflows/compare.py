"""Two homes, or two suites, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from plastibench.analysis.tables import Table, comparison, comparison_formats, tables
from plastibench.cli.render import show
from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.workflows.request import Request
from plastibench.workflows.table import DONE, SOME_FAILED, RunSelection, check_form, finished


def compare(names: tuple[str, str], request: Request, form: str) -> int:
    """Print two selections side by side; return the exit status.

    Each is a home folder, or a suite whose runs are in the home folder of `request`. Raises
    RequestError for a name that is neither, and where the two have no setting in common.
    """
    check_form(form)
    selections = [_selection(name, request) for name in names]
    if not all(selection.records for selection in selections):
        return SOME_FAILED
    found = comparison.beside(names, *(_tables(selection) for selection in selections))
    if not any(setting.rows for setting in found.settings):
        raise RequestError(
            f"{names[0]} and {names[1]} have no method under one task and model in common: the first has "
            f"{_list(selections[0])}; the second has {_list(selections[1])}"
        )
    if form == "text":
        show(comparison_formats.sheets(found))
    else:
        click.echo(comparison_formats.render(found, form), nl=False)
    return SOME_FAILED if any(selection.damaged for selection in selections) else DONE


def _selection(name: str, request: Request) -> RunSelection:
    if _is_home(Path(name)):
        return finished(replace(request, home=Path(name)), everything=True, short=True)
    if not name.endswith(".toml") and name not in suites.names():
        raise unknown("home folder or suite", name, suites.names())
    return finished(replace(request, suite=name), everything=False, short=True)


def _is_home(path: Path) -> bool:
    try:
        return (path / "runs").is_dir()
    except OSError:  # a name that is too long for the disk
        return False


def _tables(selection: RunSelection) -> list[Table]:
    return tables(selection.records, None)


def _list(selection: RunSelection) -> str:
    specs = [record.spec for record in selection.records if not record.spec.sealed]
    names = {f"{spec.task.name} {spec.model.name} {spec.method.name}" for spec in specs}
    return ", ".join(sorted(names)) or "none that was tested"
