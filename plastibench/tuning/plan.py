"""Plans of studies: one for each task, model, method and recipe of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.experiments.seeds import FIRST_TUNING_SEED
from plastibench.experiments.spec import Part, Spec, build, digest
from plastibench.tuning.objective import OBJECTIVES
from plastibench.tuning.pruning import RULES
from plastibench.tuning.search_space import SearchDimension, check_names, dimensions, with_values

if TYPE_CHECKING:
    from plastibench.experiments.suites import Suite
    from plastibench.plugins.registry import Registry

DATA = "checksum of the data"
"""Name of the term that says on which data trials are made."""
VALIDATION = 0.1
"""Share of every chunk that tuning runs hold out if the task's own is 0."""


@dataclass(frozen=True)
class StudyConfig:
    """What all methods of a tuning have in common."""

    objectives: tuple[str, ...]
    num_seeds: int
    """Runs of a trial; no reported run can have their seeds."""
    pruning: bool
    extra_dimensions: Mapping[str, str] = field(default_factory=dict)
    """Dimensions beside those of the methods: name to range, as text."""

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Return Optuna's direction of each objective."""
        return [OBJECTIVES[name].direction for name in self.objectives]


@dataclass(frozen=True)
class StudyPlan:
    """One study: the search for one method under one setting."""

    tuning: str
    """The name that the studies of one comparison share."""
    grid: Grid
    """The method alone, as a user would write it, with the seeds to report."""
    base_spec: Spec
    """The run with the published values, the first tuning seed and no test."""
    dimensions: tuple[SearchDimension, ...]
    config: StudyConfig
    num_stages: int
    data: str | None = None
    """Checksum of the data of all trials; None until they are loaded."""

    @property
    def study_name(self) -> str:
        """Return the study's name: the same for the same setting, whatever its search space."""
        parts = [[part.name, part.settings] for _, part in self.base_spec.parts]
        setting = digest([*parts, self.base_spec.recipe, self.base_spec.device])
        return f"{self.tuning}/{self.base_spec.method.name}-{setting[:6]}"

    def specs(self, values: Mapping[str, Any]) -> list[Spec]:
        """Return the runs of a trial, one for each tuning seed."""
        spec = with_values(self.base_spec, values)
        return [replace(spec, seed=FIRST_TUNING_SEED + k) for k in range(self.config.num_seeds)]

    def defaults(self) -> dict[str, float]:
        """Return the published values, trial 0."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    def fixed_terms(self) -> dict[str, Any]:
        """Return what may not change between the trials of a study, under names for error messages."""
        spec = self.base_spec
        code = {part.name: part.code for _, part in spec.parts}
        return {
            "search space": [dimension.as_dict() for dimension in self.dimensions],
            "objective": list(self.config.objectives),
            "number of tuning seeds": self.config.num_seeds,
            "pruning": RULES if self.config.pruning else "none",
            "code": {**code, "protocol": spec.protocol},
            DATA: self.data,
        }

    def grid_table(self) -> dict[str, Any]:
        """Return the table of a suite's TOML file with which a user asks for the method."""
        grid = self.grid
        table: dict[str, Any] = {"task": grid.tasks[0], "model": grid.models[0], "method": grid.methods[0]}
        if grid.recipe is not None:
            table["recipe"] = grid.recipe
        return table | {"seeds": list(grid.seeds), "device": grid.device, "set": dict(grid.settings)}


def make_plans(
    suite: Suite, specs: Sequence[Spec], registry: Registry, config: StudyConfig, name: str
) -> list[StudyPlan]:
    """Return a plan for each task, model, method and recipe of a suite, whose runs are `specs`.

    Raises RequestError for a range that is not allowed, and if nothing is left to search.
    """
    check_names(config.extra_dimensions, specs)
    grids = [part for grid in suite.grids for part in _split(grid, registry)]
    plans = [_make_plan(name, grid, config, registry) for grid in grids]
    return list({plan.study_name: plan for plan in plans}.values())


def _split(grid: Grid, registry: Registry) -> Iterator[Grid]:
    """Yield a grid for each task, model and method of a grid."""
    for task in grid.tasks:
        for model in grid.models or (registry.load("task", task).default_architecture,):
            for method in grid.methods:
                prefixes = {task, model, method.partition(":")[0]}
                settings = {
                    name: value
                    for name, value in grid.settings.items()
                    if "." not in name or name.partition(".")[0] in prefixes
                }
                yield replace(grid, tasks=(task,), models=(model,), methods=(method,), settings=settings)


def _make_plan(name: str, grid: Grid, config: StudyConfig, registry: Registry) -> StudyPlan:
    spec = grid.specs(registry)[0]
    space = dimensions(spec, registry.load("method", spec.method.name), config.extra_dimensions)
    base = replace(spec, task=_with_validation(spec.task), seed=FIRST_TUNING_SEED, held_out_test=True)
    for end in ("low", "high"):
        # Settings check their values: both ends of a range must be allowed.
        build(with_values(base, {dimension.name: getattr(dimension, end) for dimension in space}), registry)
    task, _ = build(base, registry)
    return StudyPlan(name, grid, base, space, config, task.num_stages())


def _with_validation(task: Part) -> Part:
    """Return the task with a share of its data held out for validation."""
    if "validation" not in task.settings:
        raise RequestError(f"task {task.name} has no setting named validation: it has no data to tune on")
    share = task.settings["validation"] or VALIDATION
    return replace(task, settings={**task.settings, "validation": share})
