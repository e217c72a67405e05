"""The states of runs."""

from plastibench.store.run_status import RunStatus, damaged_statuses, get_status, started_specs
from plastibench.store.run_store import Store
from plastibench.workflows.request import Selection
from plastibench.workflows.selected_specs import selected_specs, specs_of_tasks


def status(selection: Selection) -> list[RunStatus]:
    """Return the current state of each run of a suite, of a grid, or ever asked for in the home folder."""
    store = Store(selection.workspace.home)  # a new one each time: what was damaged may be whole by now
    started = started_specs(store) if selection.is_empty or selection.is_of_tasks else []
    specs = started if selection.is_empty else selected_specs(selection)
    if selection.is_of_tasks:  # what was asked for with other methods and settings, too
        others = specs_of_tasks(selection, started)
        specs = list({spec.id: spec for spec in (*specs, *others)}.values())
    return [*(get_status(store, spec, spec.name) for spec in specs), *damaged_statuses(store)]
