"""Two homes, or two suites, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from plastibench import suites
from plastibench.errors import RequestError, unknown
from plastibench.printing import DONE, SOME_FAILED, Finished, check_form, finished, show
from plastibench.request import Request
from plastibench.tables import Table, beside, beside_forms, tables


def compare(names: tuple[str, str], request: Request, form: str) -> int:
    """Print two selections side by side; return the exit status.

    Each is a home folder, or a suite whose runs are in the home folder of `request`. Raises
    RequestError for a name that is neither, and where the two have no setting in common.
    """
    check_form(form)
    selections = [_selection(name, request) for name in names]
    if not all(selection.records for selection in selections):
        return SOME_FAILED
    found = beside.beside(names, *(_tables(selection) for selection in selections))
    if not any(setting.rows for setting in found.settings):
        raise RequestError(
            f"{names[0]} and {names[1]} have no method under one task and model in common: the first has "
            f"{_list(selections[0])}; the second has {_list(selections[1])}"
        )
    if form == "text":
        show(beside_forms.sheets(found))
    else:
        click.echo(beside_forms.render(found, form), nl=False)
    return SOME_FAILED if any(selection.damaged for selection in selections) else DONE


def _selection(name: str, request: Request) -> Finished:
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


def _tables(selection: Finished) -> list[Table]:
    return tables(selection.records, None)


def _list(selection: Finished) -> str:
    specs = [record.spec for record in selection.records if not record.spec.sealed]
    names = {f"{spec.task.name} {spec.model.name} {spec.method.name}" for spec in specs}
    return ", ".join(sorted(names)) or "none that was tested"
