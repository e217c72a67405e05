"""Typed requests: what the user named, completed from a suite and the defaults."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from plastibench.errors import RequestError, unknown
from plastibench.experiments import suites
from plastibench.experiments.grid import Grid
from plastibench.experiments.grid_plan import GridPlan, Refusal
from plastibench.experiments.shard import Shard
from plastibench.experiments.spec import Spec
from plastibench.experiments.suites import Suite
from plastibench.runner.executors.choice import ExecutorChoice
from plastibench.runner.workspace import Workspace
from plastibench.store import tuned_settings
from plastibench.store.recorded_runs import RecordedRuns
from plastibench.store.run_source import RunSource

OVERRIDES = ("methods", "models", "recipe", "probes", "seeds", "device")
"""Fields of a grid that a selection replaces."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs of a suite or of a grid. None stands for the default of the suite or of the task."""

    workspace: Workspace = field(default_factory=Workspace)
    suite: str | None = None
    """A name, or the path of a TOML file."""
    tasks: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    """Each `name` or `name:preset`."""
    models: tuple[str, ...] | None = None
    recipe: str | None = None
    probes: tuple[str, ...] | None = None
    """Measurements at the end of every stage; they change no other number."""
    seeds: tuple[int, ...] | None = None
    device: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    """By `name`, or by `plug-in.name` for one plug-in; values as text."""
    tuned: bool = False
    """Whether the suite is one that a tuning wrote."""
    records: tuple[Path, ...] = ()
    """Records files that finished runs are read from, in place of the home folder."""

    @cached_property
    def source(self) -> RunSource:
        """Return where finished runs are read from. Raises RequestError for a damaged records file."""
        return RecordedRuns.from_paths(self.records) if self.records else self.workspace.store

    @property
    def is_empty(self) -> bool:
        """Return whether nothing is named: commands that read runs then take the whole home folder."""
        named = (getattr(self, name) for name in ("suite", "tasks", *OVERRIDES))
        return not self.tuned and not self.settings and all(value is None for value in named)

    @property
    def is_of_tasks(self) -> bool:
        """Return whether tasks are named and no methods: commands that read runs then take any method."""
        return self.tasks is not None and self.methods is None and self.recipe is None and not self.tuned

    @cached_property
    def resolved_suite(self) -> Suite:
        """Return the suite with the user's choices in place of its own. Raises RequestError."""
        if self.suite is not None and self.tasks is not None:
            raise RequestError(
                f"give either a suite ({self.suite}) or a task ({', '.join(self.tasks)}), not both"
            )
        if self.tuned:
            return self._tuned_suite()
        if self.tasks is None:
            suite = suites.load(suites.defaults().suite if self.suite is None else self.suite)
            suite = replace(suite, grids=tuple(self._override(grid) for grid in suite.grids))
            self._check_references(suite)
            return suite
        usual = suites.defaults()
        grid = Grid(tasks=self.tasks, methods=suites.load(usual.suite).grids[0].methods)
        return Suite("-".join(grid.tasks), "", usual.baseline, usual.cost_reference, (self._override(grid),))

    @cached_property
    def specs_by_grid(self) -> list[tuple[Grid, list[Spec]]]:
        """Return each grid with its runs. Raises RequestError for what does not exist or is not allowed."""
        return [(grid, plan.specs) for grid, plan in self._plans]

    @cached_property
    def _plans(self) -> list[tuple[Grid, GridPlan]]:
        return [(grid, grid.plan(self.workspace.registry)) for grid in self.resolved_suite.grids]

    @property
    def refused(self) -> list[Refusal]:
        """Return the methods that cannot run where they are asked to. Raises RequestError."""
        return [refusal for _, plan in self._plans for refusal in plan.refused]

    @cached_property
    def specs(self) -> list[Spec]:
        """Return the runs, each once. Raises RequestError for what does not exist or is not allowed."""
        return list({spec.id: spec for _, specs in self.specs_by_grid for spec in specs}.values())

    @property
    def device_name(self) -> str:
        """Return the device of all runs. Raises RequestError if the suite names several."""
        names = {grid.device for grid in self.resolved_suite.grids}
        if len(names) > 1:
            raise RequestError(
                f"this suite names several devices ({', '.join(sorted(names))}): choose with --device"
            )
        return names.pop()

    def _tuned_suite(self) -> Suite:
        """Return the suite that a tuning wrote, without the methods that the user left out."""
        task = None if self.tasks is None else ",".join(self.tasks)
        suite = tuned_settings.load_suite(self.workspace.home, self.suite, task)
        methods = None if self.methods is None else set(self.methods)
        grids = [grid for grid in suite.grids if methods is None or set(grid.methods) <= methods]
        if not grids:
            tuned_methods = {method for grid in suite.grids for method in grid.methods}
            raise unknown(f"method in tuning {suite.name}", ",".join(self.methods or ()), tuned_methods)
        same_methods = replace(self, methods=None)
        return replace(suite, grids=tuple(same_methods._override(grid) for grid in grids))

    def _check_references(self, suite: Suite) -> None:
        """Raise RequestError if a name to compare with is no method; its file need not be at hand."""
        names = {method.partition(":")[0] for grid in suite.grids for method in grid.methods}
        names |= set(self.workspace.registry.names("method"))
        for role in ("baseline", "cost_reference"):
            label = getattr(suite, role)
            if label is not None and re.split(r"\W", label)[0] not in names:
                raise unknown(f"method for {role} of suite {suite.name}", label, names)

    def _override(self, grid: Grid) -> Grid:
        named = {name: getattr(self, name) for name in OVERRIDES}
        changes = {name: value for name, value in named.items() if value is not None}
        return replace(grid, **changes, settings={**grid.settings, **self.settings})


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How runs are executed; none of it decides a number."""

    jobs: int | None = None
    """Runs side by side; None is the device's choice."""
    devices: int = 1
    """Devices that each run is trained on, side by side; more than one take the runs one by one."""
    threads: int | None = None
    """CPU threads of each run; None is as many as were measured to pay."""
    executor: str = "local"
    """What executes the runs: this machine, or a cluster."""
    address: str | None = None
    """The cluster; None is the usual one."""
    device_share: float | None = None
    """Part of a device that a run on a cluster takes; None is the whole."""
    checkpoint_interval: float = 60.0
    """Seconds between two checkpoints of a run; 0 is after every step, infinity only when stopped."""
    deterministic: bool = False
    """Whether only kernels are used that give the same bits each time."""
    compile: bool = False
    """Whether passes of whole batches are compiled if the device has a choice."""
    checkpoint_storage: str | None = None
    """Folder or address (of fsspec) of the states of unfinished runs; None is the home folder."""
    retries: int = 1
    """How often a run whose process or machine is lost is tried again; one that raises an error is not."""
    run_timeout: float | None = None
    """Seconds after which a run is stopped at a checkpoint and reported; None: never."""
    shard: Shard | None = None
    """The part of the runs to execute; None is all."""
    costs: Path | None = None
    """A file of known costs, by which runs are divided into shards; None divides by their descriptions."""
    estimate: bool = True
    """Whether to log beforehand how long the runs will take, if somebody reads the log."""
    mlflow: bool = True
    """Whether runs are mirrored to MLflow while they train."""
    tracking_uri: str | None = field(default=None, repr=False)
    """MLflow's address; None is a database in the home folder."""

    def __post_init__(self) -> None:
        """Raise RequestError for a number that is too small, which the command line does not let through."""
        for name, least in {"jobs": 1, "devices": 1, "threads": 1, "retries": 0}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise RequestError(f"{name}={value} is not allowed: it must be {least} or more")

    @property
    def choice(self) -> ExecutorChoice:
        """Return the executor. Raises RequestError for one that does not exist, and for wrong options."""
        return ExecutorChoice(
            name=self.executor, address=self.address, jobs=self.jobs, device_share=self.device_share
        )


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Runs to execute."""

    selection: Selection
    options: RunOptions = field(default_factory=RunOptions)
