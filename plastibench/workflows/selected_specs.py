"""The runs that a command reads, also if it names plug-ins whose files are gone."""

import logging
from collections.abc import Collection, Iterable, Iterator, Sequence

from plastibench.errors import RequestError, unknown
from plastibench.experiments.grid import Grid
from plastibench.experiments.grid_plan import Refusal
from plastibench.experiments.presets import is_called, preset_label
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.plugins.values import show
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.run_status import started_specs
from plastibench.workflows.request import Selection

logger = logging.getLogger(__name__)


def selected_specs(selection: Selection) -> list[Spec]:
    """Return the runs of a selection.

    Without the file of a plug-in the defaults of its settings are unknown, and reading runs executes no
    source that was kept with them: runs are then those that were asked for under these names, with the
    settings that are given and any others. The same holds for records files, which may have been made with
    other code than that at hand. Raises RequestError if there are none.
    """
    if isinstance(selection.source, RecordedRuns):
        return _recorded_specs(selection, [record.spec for record in selection.source.records()])
    try:
        return selection.specs
    except RequestError:
        grids, started = selection.resolved_suite.grids, started_specs(selection.workspace.store)
        found = [spec for spec in started if any(_matches(spec, grid) for grid in grids)]
        absent = sorted({name for spec in found for name in _absent(spec, selection.workspace.registry)})
        if not absent:
            raise
    logger.info(
        "%s: neither installed nor given with --plugin; using all runs with these names and settings",
        ", ".join(absent),
    )
    return found


def _recorded_specs(selection: Selection, specs: Sequence[Spec]) -> list[Spec]:
    """Return the runs of records files that a suite asks for, or that have all that is named without one.

    Raises RequestError for a name that no run has, and for a recipe, of which runs keep the settings alone.
    """
    if selection.suite is not None or selection.tuned:
        grids = selection.resolved_suite.grids
        return [spec for spec in specs if any(_matches(spec, grid) for grid in grids)]
    if selection.recipe is not None:
        raise RequestError(
            f"recipe={selection.recipe} cannot choose among recorded runs, which keep a recipe's settings "
            "and not its name: give a suite, or settings with --set"
        )
    for task in selection.tasks or ():
        _check_recorded("task", task, {spec.task.name for spec in specs})
    for model in selection.models or ():
        _check_recorded("model", model, {spec.model.name for spec in specs})
    for method in selection.methods or ():
        if not any(is_called(spec.method, method) for spec in specs):
            _check_recorded("method", method, {preset_label(m) or m.name for m in (s.method for s in specs)})
    return [spec for spec in specs if _has_all_named(spec, selection)]


def _check_recorded(kind: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise unknown(f"{kind} in these records", name, names)


def specs_of_tasks(selection: Selection, specs: Iterable[Spec]) -> list[Spec]:
    """Return those of `specs` that are of the tasks of a selection, whatever their methods.

    What else the selection names holds for them: models, seeds, device, probes and settings. The runs that
    `run` would execute are among them. Raises RequestError for a name that does not exist.
    """
    specs = list(specs)
    tasks = {*selection.workspace.registry.names("task"), *(spec.task.name for spec in specs)}
    for name in selection.tasks or ():
        if name not in tasks:
            raise unknown("task", name, tasks)
    found = [spec for spec in specs if _has_all_named(spec, selection)]
    try:
        usual = {spec.id for spec in selected_specs(selection)}
    except RequestError:
        if not found:
            raise
        return found
    return [spec for spec in specs if spec.id in usual or _has_all_named(spec, selection)]


def refused_methods(selection: Selection) -> Sequence[Refusal]:
    """Return the methods of a selection that cannot run; none if it is not known without their files."""
    if isinstance(selection.source, RecordedRuns):
        return selection.source.refused
    if selection.is_empty:
        return ()
    try:
        return selection.refused
    except RequestError:
        return ()


def _absent(spec: Spec, registry: Registry) -> Iterator[str]:
    for kind, part in spec.all_parts():
        if part.name not in registry.names(kind):
            yield f"{kind} {part.name}"


def _matches(spec: Spec, grid: Grid) -> bool:
    """Return whether a run has the names and the settings of a grid."""
    return (
        spec.task.name in grid.tasks
        and any(is_called(spec.method, method) for method in grid.methods)
        and spec.model.name in (grid.models or (spec.model.name,))
        and {probe.name for probe in spec.probes} == set(grid.probes)
        and spec.seed in grid.seeds
        and spec.device == grid.device.partition(":")[0]
        and not spec.held_out_test
        and all(_has(spec, name, text) for name, text in grid.settings.items())
    )


def _has_all_named(spec: Spec, selection: Selection) -> bool:
    """Return whether a run has all that a selection names besides a recipe."""
    probes = {probe.name for probe in spec.probes}
    return (
        spec.task.name in (selection.tasks or (spec.task.name,))
        and (selection.methods is None or any(is_called(spec.method, method) for method in selection.methods))
        and spec.model.name in (selection.models or (spec.model.name,))
        and spec.seed in (selection.seeds or (spec.seed,))
        and spec.device == (selection.device or spec.device).partition(":")[0]
        and probes == (probes if selection.probes is None else set(selection.probes))
        and not spec.held_out_test
        and all(_has(spec, name, text) for name, text in selection.settings.items())
    )


def _has(spec: Spec, setting: str, text: str) -> bool:
    """Return whether a run has a value of a setting; one of another plug-in counts as such."""
    prefix, dot, name = setting.rpartition(".")
    parts = [part for _, part in spec.all_parts() if part.name == prefix]
    if dot:
        values = [part.settings[name] for part in parts if name in part.settings]
        return not parts or text in map(show, values)
    settings = {**spec.task_settings, **spec.recipe, **spec.model.settings}
    return show(settings.get(name)) == text
