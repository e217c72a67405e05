"""What is asked for: one plan for each task, model, method and recipe, made from a request."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from plastibench.errors import RequestError
from plastibench.experiments.grid import FIRST_TUNING_SEED, Grid
from plastibench.experiments.spec import Part, Spec, build, canonical
from plastibench.tuning.search_space import SearchDimension, applied, check_names, dimensions

if TYPE_CHECKING:
    from plastibench.plugins.registry import Registry
    from plastibench.workflows.request import Request

VALIDATION = 0.1
"""Share of every chunk that tuning runs set aside, where the user says nothing."""


@dataclass(frozen=True)
class StudyConfig:
    """What all methods of a tuning have in common."""

    objectives: tuple[str, ...]
    num_seeds: int
    """Runs of a trial; their seeds are none that a reported run can have."""
    pruning: bool
    extra_dimensions: Mapping[str, str] = field(default_factory=dict)
    """Dimensions beside those of the methods: name to range, as text."""


@dataclass(frozen=True)
class StudyPlan:
    """One study: what is searched for one method under one setting."""

    tuning: str
    """The name that the studies of one comparison share."""
    grid: Grid
    """The method alone, as a user would ask for it, with the seeds to report."""
    base_spec: Spec
    """The sealed run with the published values and the first tuning seed."""
    dimensions: tuple[SearchDimension, ...]
    config: StudyConfig
    num_stages: int

    @property
    def study_name(self) -> str:
        """Return the study's name: the same for the same setting, whatever is searched in it."""
        parts = (self.base_spec.task, self.base_spec.model, self.base_spec.method)
        setting = [[part.name, part.settings] for part in parts] + [
            self.base_spec.recipe,
            self.base_spec.device,
        ]
        digest = hashlib.sha256(canonical(setting).encode()).hexdigest()[:6]
        return f"{self.tuning}/{self.base_spec.method.name}-{digest}"

    def specs(self, values: Mapping[str, Any]) -> list[Spec]:
        """Return the runs of a trial, one for each tuning seed."""
        changed = applied(self.base_spec, values)
        return [replace(changed, seed=FIRST_TUNING_SEED + k) for k in range(self.config.num_seeds)]

    def defaults(self) -> dict[str, float]:
        """Return the published values, trial 0."""
        return {dimension.name: dimension.default for dimension in self.dimensions}

    def facts(self) -> dict[str, Any]:
        """Return what may not change while a study goes on, each under a name for people."""
        code = {
            part.name: part.code
            for part in (self.base_spec.task, self.base_spec.model, self.base_spec.method)
        }
        return {
            "search space": [dimension.as_dict() for dimension in self.dimensions],
            "objective": list(self.config.objectives),
            "number of tuning seeds": self.config.num_seeds,
            "pruning": self.config.pruning,
            "code": {**code, "protocol": self.base_spec.protocol},
        }


def make_plans(request: Request, terms: StudyConfig, name: str | None) -> list[StudyPlan]:
    """Return a plan for each task, model, method and recipe that is named.

    Raises RequestError for what does not exist, is not allowed, or leaves nothing to search.
    """
    specs = request.specs()
    check_names(terms.extra_dimensions, specs)
    name = name or _name(request, specs)
    grids = [grid for whole in request.leaderboard.grids for grid in _single(whole, request.registry)]
    made = [_plan(name, grid, terms, request.registry) for grid in grids]
    return list({plan.study_name: plan for plan in made}.values())


def _single(grid: Grid, registry: Registry) -> Iterator[Grid]:
    """Yield a grid for each task, model and method of a grid."""
    for task in grid.tasks:
        for model in grid.models or (registry.load("task", task).default_architecture,):
            for method in grid.methods:
                words = {task, model, method.partition(":")[0]}
                own = {k: v for k, v in grid.settings.items() if "." not in k or k.partition(".")[0] in words}
                yield replace(grid, tasks=(task,), models=(model,), methods=(method,), settings=own)


def _plan(name: str, grid: Grid, terms: StudyConfig, registry: Registry) -> StudyPlan:
    spec = grid.specs(registry)[0]
    space = dimensions(spec, registry.load("method", spec.method.name), terms.extra_dimensions)
    base = replace(spec, task=_validating(spec.task), seed=FIRST_TUNING_SEED, sealed=True)
    for end in ("low", "high"):
        # A range must lie inside what is allowed at all: the settings themselves know.
        build(applied(base, {one.name: getattr(one, end) for one in space}), registry)
    task, _ = build(base, registry)
    return StudyPlan(name, grid, base, space, terms, task.num_stages())


def _validating(task: Part) -> Part:
    """Return the task with a share set aside for validation."""
    if "validation" not in task.settings:
        raise RequestError(
            f"task {task.name} has no setting named validation: it can set no data aside to tune on"
        )
    share = task.settings["validation"] or VALIDATION
    return replace(task, settings={**task.settings, "validation": share})


def _name(request: Request, specs: list[Spec]) -> str:
    """Return the name of a tuning where the user gives none."""
    if request.task is None:
        return request.leaderboard.name
    return "-".join(dict.fromkeys(name for spec in specs for name in (spec.task.name, spec.model.name)))
