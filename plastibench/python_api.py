"""The Python API: the workflows of the command line as functions.

`import plastibench` makes them available as `plastibench.run` and so on. They print nothing and return
values; progress is logged to the logger "plastibench" and passed to callbacks. With `jobs` above 1 or
`mlflow=True` other processes are started: call them from a script under `if __name__ == "__main__":`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from plastibench.experiments.seeds import parse_seeds
from plastibench.plugins.values import show
from plastibench.workflows.request import RunOptions, RunRequest, Selection
from plastibench.workflows.workspace import Workspace

if TYPE_CHECKING:
    from plastibench.analysis.tables.table import ResultTable
    from plastibench.runner.callbacks import RunCallback
    from plastibench.store.record import Record
    from plastibench.tuning.callbacks import TuningCallback
    from plastibench.workflows.run import RunResult
    from plastibench.workflows.tune import TuneResult

Names = str | Iterable[str]
Seeds = int | str | Iterable[int]
Folder = str | PathLike[str]


def run(
    suite: Folder | None = None,
    *,
    task: Names | None = None,
    methods: Names | None = None,
    model: Names | None = None,
    recipe: str | None = None,
    probes: Names | None = None,
    seeds: Seeds | None = None,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    tuned: bool = False,
    home: Folder | None = None,
    data: Folder | None = None,
    plugins: Iterable[Folder] = (),
    jobs: int | None = 1,
    threads: int | None = None,
    checkpoint_interval: float = 60.0,
    deterministic: bool = False,
    mlflow: bool = False,
    tracking_uri: str | None = None,
    callbacks: Sequence[RunCallback] = (),
) -> RunResult:
    """Execute the runs of a suite or of a grid, as `plastibench run` does. Finished runs are not repeated.

    Args:
        suite: Name of a suite, or the path of a TOML file. Without `suite` and `task` it is the quick start.
        task: Name of a task, or several.
        methods: Names of methods; `name:preset` for a published variant. Default: those of the quick start.
        model: Name of a model, or several. Default: the task's own.
        recipe: How a stage is trained, such as `"standard"` or `"sota"`. Default: the task's first.
        probes: Names of probes: measurements of every stage.
        seeds: How many (`5`), which (`[3, 5, 7]`), or text as on the command line (`"10-14"`). Default: 3.
        settings: By `name`, or by `plug-in.name` for one plug-in: `{"stages": 2, "dash.floor": 0.1}`.
        device: `"cpu"`, `"cuda"`, `"cuda:N"` or `"hpu"`. Default: the suite's, or cpu.
        tuned: Whether `suite` is the name of a tuning in the home folder.
        home: Folder of the runs. Default: PLASTIBENCH_HOME, or plastibench-home.
        data: Folder of the data sets. Default: PLASTIBENCH_DATA, or a folder in the user's cache.
        plugins: Files with plug-ins of your own.
        jobs: Runs side by side; None is one per CPU core. 1 executes all runs in this process.
        threads: CPU threads of each run. Default: the cores, shared out.
        checkpoint_interval: Seconds between two checkpoints of a run; 0 is after every step, infinity only
            when stopped.
        deterministic: Whether to use only kernels that give the same bits each time.
        mlflow: Whether to mirror the runs to MLflow while they train.
        tracking_uri: MLflow's address. Default: a database in the home folder.
        callbacks: Objects whose hooks are called while the runs are executed.

    Returns:
        The finished runs (`records`), their tables (`tables`) and why other runs failed (`failures`).

    Raises:
        RequestError: If something named does not exist, a value is not allowed, or data are missing.
        KeyboardInterrupt: After Ctrl-C, when the states of the runs in progress are saved.

    Example:
        >>> result = plastibench.run(task="digits", methods=["warm", "dash"], seeds=2)
        >>> [row.method for row in result.tables[0].rows]
        ['dash', 'warm']

    """
    from plastibench.workflows import run as workflow

    selection = _selection(
        _workspace(home, data, plugins),
        suite=suite,
        tasks=task,
        methods=methods,
        models=model,
        seeds=seeds,
        probes=probes,
        recipe=recipe,
        settings=settings,
        device=device,
        tuned=tuned,
    )
    options = RunOptions(
        jobs=jobs,
        threads=threads,
        checkpoint_interval=checkpoint_interval,
        deterministic=deterministic,
        mlflow=mlflow,
        tracking_uri=tracking_uri,
    )
    return workflow.run(RunRequest(selection=selection, options=options), callbacks)


def resume(
    runs: Names = (),
    *,
    device: str | None = None,
    home: Folder | None = None,
    data: Folder | None = None,
    plugins: Iterable[Folder] = (),
    jobs: int | None = 1,
    threads: int | None = None,
    checkpoint_interval: float = 60.0,
    deterministic: bool = False,
    mlflow: bool = False,
    tracking_uri: str | None = None,
    callbacks: Sequence[RunCallback] = (),
) -> RunResult:
    """Continue runs that were started and are not finished, as `plastibench resume` does.

    Args:
        runs: Ids of runs, or beginnings of them. Default: all.
        device: Default: the kind of device that the runs were started on.
        home, data, plugins: As for `run`.
        jobs, threads, checkpoint_interval, deterministic: As for `run`.
        mlflow, tracking_uri, callbacks: As for `run`.

    Returns:
        The runs that are finished now, their tables, and why other runs failed.

    Raises:
        RequestError: If no run has such an id, or the code of a run has changed.

    Example:
        >>> plastibench.resume(home="my-home").failures
        {}

    """
    from plastibench.workflows import resume as workflow

    request = workflow.ResumeRequest(
        workspace=_workspace(home, data, plugins),
        runs=_names(runs) or (),
        device=device,
        options=RunOptions(
            jobs=jobs,
            threads=threads,
            checkpoint_interval=checkpoint_interval,
            deterministic=deterministic,
            mlflow=mlflow,
            tracking_uri=tracking_uri,
        ),
    )
    return workflow.resume(request, callbacks)


def tune(
    suite: Folder | None = None,
    *,
    task: Names | None = None,
    methods: Names | None = None,
    model: Names | None = None,
    recipe: str | None = None,
    seeds: Seeds | None = None,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    trials: int | None = None,
    budget: str | None = None,
    objective: Names = "mean",
    search: Names = (),
    seeds_per_trial: int = 3,
    pruning: bool = True,
    name: str | None = None,
    storage: str | None = None,
    home: Folder | None = None,
    data: Folder | None = None,
    plugins: Iterable[Folder] = (),
    jobs: int = 1,
    threads: int | None = None,
    mlflow: bool = False,
    tracking_uri: str | None = None,
    callbacks: Sequence[TuningCallback] = (),
) -> TuneResult:
    """Search the settings of methods on validation data, as `plastibench tune` does.

    Args:
        suite, task, methods, model, recipe, settings, device: As for `run`.
        seeds: Seeds to report; trials have seeds of their own.
        trials: Trials of each method. Give this or `budget`.
        budget: What each method may use: `"2e6passes"`, `"1e15flops"` or `"0.5h"`.
        objective: `"last"`, `"mean"`, `"per_cost"` or `"cost"`; with two, all trials that none beats in both.
        search: Settings to search beside the methods' own, such as `"learning_rate"` or
            `"learning_rate=0.001:0.1:log"`.
        seeds_per_trial: Runs of a trial.
        pruning: Whether to end bad trials early, by stages.
        name: Name of the tuning. Default: made of what is tuned.
        storage: Address of an Optuna storage. Default: a journal in the home folder.
        home, data, plugins, threads, mlflow, tracking_uri: As for `run`.
        jobs: Trials side by side. 1 runs all trials in this process.
        callbacks: Objects whose hooks are called when trials end.

    Returns:
        The studies, and the path of the suite with published and best settings: `run(name, tuned=True)`
        measures it on seeds of its own.

    Raises:
        RequestError: If something named does not exist, a value is not allowed, or nothing can be searched.

    Example:
        >>> tuning = plastibench.tune(task="digits", methods="dash", trials=20)
        >>> result = plastibench.run(tuning.name, tuned=True)

    """
    from plastibench.tuning.budget import parse_budget
    from plastibench.tuning.objective import parse_objectives
    from plastibench.tuning.plan import StudyConfig
    from plastibench.tuning.search_space import parse_dimensions
    from plastibench.workflows import tune as workflow

    request = workflow.TuneRequest(
        selection=_selection(
            _workspace(home, data, plugins),
            suite=suite,
            tasks=task,
            methods=methods,
            models=model,
            seeds=seeds,
            recipe=recipe,
            settings=settings,
            device=device,
        ),
        config=StudyConfig(
            objectives=parse_objectives(",".join(_names(objective) or ())),
            num_seeds=seeds_per_trial,
            pruning=pruning,
            extra_dimensions=parse_dimensions(_names(search) or ()),
        ),
        budget=parse_budget(trials, budget),
        name=name,
        storage_url=storage,
        jobs=jobs,
        threads=threads,
        mlflow=mlflow,
        tracking_uri=tracking_uri,
    )
    return workflow.tune(request, callbacks)


def table(
    suite: Folder | None = None,
    *,
    task: Names | None = None,
    methods: Names | None = None,
    model: Names | None = None,
    recipe: str | None = None,
    probes: Names | None = None,
    seeds: Seeds | None = None,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    baseline: str | None = None,
    home: Folder | None = None,
    plugins: Iterable[Folder] = (),
    tracking_uri: str | None = None,
) -> list[ResultTable]:
    """Tabulate finished runs, as `plastibench table` does: one table for each setting.

    Args:
        suite, task, methods, model, recipe, probes, seeds, settings, device: As for `run`. If none is
            given, all runs in the home folder are meant.
        baseline: Method to pair the others with. Default: the suite's.
        home, plugins: As for `run`.
        tracking_uri: Read the runs from MLflow at this address instead.

    Returns:
        The tables, sorted by title. Damaged runs are left out, with a warning to the logger.

    Raises:
        RequestError: If no run is finished, or something named does not exist.

    Example:
        >>> for row in plastibench.table("quickstart")[0].rows:
        ...     print(row.method, row.average.mean)

    """
    from plastibench.workflows import table as workflow

    selection = _selection(
        _workspace(home, None, plugins),
        suite=suite,
        tasks=task,
        methods=methods,
        models=model,
        seeds=seeds,
        probes=probes,
        recipe=recipe,
        settings=settings,
        device=device,
    )
    request = workflow.TableRequest(selection=selection, baseline=baseline)
    if tracking_uri is not None:
        return workflow.table_from_mlflow(request, tracking_uri).tables
    return workflow.table(request).tables


def results(
    suite: Folder | None = None,
    *,
    task: Names | None = None,
    methods: Names | None = None,
    model: Names | None = None,
    recipe: str | None = None,
    probes: Names | None = None,
    seeds: Seeds | None = None,
    settings: Mapping[str, object] | None = None,
    device: str | None = None,
    home: Folder | None = None,
    plugins: Iterable[Folder] = (),
) -> list[Record]:
    """Return finished runs with every stage and their provenance.

    Args:
        suite, task, methods, model, recipe, probes, seeds, settings, device: As for `run`. If none is
            given, all runs in the home folder are meant.
        home, plugins: As for `run`.

    Returns:
        The records. Damaged runs are left out, with a warning to the logger.

    Raises:
        RequestError: If no run is finished, or something named does not exist.

    Example:
        >>> [record.stages[-1]["test_accuracy"] for record in plastibench.results(methods="dash")]

    """
    from plastibench.workflows.finished_runs import finished_runs

    selection = _selection(
        _workspace(home, None, plugins),
        suite=suite,
        tasks=task,
        methods=methods,
        models=model,
        seeds=seeds,
        probes=probes,
        recipe=recipe,
        settings=settings,
        device=device,
    )
    return finished_runs(selection).records


def _workspace(home: Folder | None, data: Folder | None, plugins: Iterable[Folder]) -> Workspace:
    folders = {"home": home, "data": data}
    named = {name: Path(folder) for name, folder in folders.items() if folder is not None}
    return Workspace(**named, plugins=tuple(map(Path, plugins)))


def _selection(
    workspace: Workspace,
    *,
    suite: Folder | None,
    tasks: Names | None,
    methods: Names | None,
    models: Names | None,
    seeds: Seeds | None,
    settings: Mapping[str, object] | None,
    recipe: str | None,
    device: str | None,
    probes: Names | None = None,
    tuned: bool = False,
) -> Selection:
    return Selection(
        workspace=workspace,
        suite=None if suite is None else str(suite),
        tasks=_names(tasks),
        methods=_names(methods),
        models=_names(models),
        seeds=_seeds(seeds),
        probes=_names(probes),
        settings={name: _setting(value) for name, value in (settings or {}).items()},
        recipe=recipe,
        device=device,
        tuned=tuned,
    )


def _names(names: Names | None) -> tuple[str, ...] | None:
    return (names,) if isinstance(names, str) else None if names is None else tuple(names)


def _seeds(seeds: Seeds | None) -> tuple[int, ...] | None:
    if seeds is None:
        return None
    # A list of one is that seed, not a number of seeds.
    return parse_seeds(str(seeds) if isinstance(seeds, int | str) else ",".join(f"{n}-{n}" for n in seeds))


def _setting(value: object) -> str:
    return show(tuple(value) if isinstance(value, list) else value)
