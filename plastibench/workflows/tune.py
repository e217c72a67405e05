"""Carry a tuning out from a request to a suite."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.text import Text

from plastibench.cli.screen import Screen
from plastibench.cli.tuning_progress import Board
from plastibench.devices import Device, get_device
from plastibench.errors import RequestError, unknown
from plastibench.experiments.spec import Spec
from plastibench.runner.context import RunContext
from plastibench.runner.execute import prepare_data
from plastibench.store import tuned_settings
from plastibench.store.run_store import Store
from plastibench.system import signals
from plastibench.tracking import TrackingServer
from plastibench.tracking.background import mirrored
from plastibench.tracking.follower import MirrorJob
from plastibench.tuning import budget, export, objective, plots, search_space, summary
from plastibench.tuning.budget import Budget
from plastibench.tuning.plan import StudyConfig, StudyPlan, make_plans
from plastibench.tuning.storage import load_studies, open_storage, tuning_names
from plastibench.tuning.study import TuningStudy
from plastibench.tuning.trial_runner import WorkerConfig, run_worker
from plastibench.tuning.trials import best_trials
from plastibench.tuning.worker_pool import run_workers

if TYPE_CHECKING:
    from plastibench.workflows.request import Request

DONE, SOME_FAILED = 0, 1


@dataclass(frozen=True)
class Ask:
    """What a tuning is asked for, beside what is tuned."""

    terms: StudyConfig
    budget: Budget
    name: str | None
    """None is a name made of what is tuned."""
    url: str | None
    """Of an Optuna storage; None keeps the trials in the home folder."""
    jobs: int


def ask(words: Mapping[str, Any]) -> Ask:
    """Return what the options of the command line ask for. Raises RequestError for what is not allowed."""
    terms = StudyConfig(
        objectives=objective.parse_objectives(words["objective"]),
        num_seeds=words["tuning_seeds"],
        pruning=words["pruning"],
        extra_dimensions=search_space.parse_dimensions(words["added"]),
    )
    return Ask(
        terms,
        budget.parse_budget(words["trials"], words["budget"]),
        words["name"],
        words["url"],
        words["jobs"],
    )


def tune(request: Request, ask: Ask, server: TrackingServer | None = None) -> int:
    """Try what each method's budget allows, write the suite of what was best; return the exit status.

    The trials are mirrored to `server`, if there is one.
    """
    console = Screen(stderr=True)
    specs = request.specs()
    found = make_plans(
        request.leaderboard, specs, request.registry, ask.terms, ask.name or _default_name(request, specs)
    )
    name = tuned_settings.suite_path(request.home, found[0].tuning).stem
    device, store = _ready(request, found), open_storage(request.home, ask.url)
    studies = [TuningStudy.open(plan, store, request.home) for plan in found]
    again = sum(study.requeue_lost_trials(request.home) for study in studies)
    if again:
        _say(console, f"{again} trials whose process died are tried again")
    head = f"{name}: {len(studies)} studies, {ask.budget.describe()} each"
    if all(study.used(ask.budget) >= ask.budget.amount for study in studies):
        _say(console, f"{head}: used already, nothing to do")
    else:
        _say(console, f"{head}, on {device.name()}, {ask.jobs} at a time")
        threads = request.threads or device.num_threads(ask.jobs)
        context = RunContext(
            request.home, request.data, request.cache, str(device), request.plugins, threads, ask.jobs
        )
        errand = None if server is None else MirrorJob(server, {}, (name, ask.url))
        with mirrored(errand, partial(_say, console)) as mirror:
            _carry_out(WorkerConfig(tuple(found), ask.budget, context, ask.url), studies, ask.jobs, console)
            if mirror is not None:
                mirror.finish({})
    _conclude(studies, export.write_suite(store, name, request.home), request.home, console)
    return SOME_FAILED if any(_failed(study) for study in studies) else DONE


def _default_name(request: Request, specs: list[Spec]) -> str:
    if request.task is None:
        return request.leaderboard.name
    return "-".join(dict.fromkeys(name for spec in specs for name in (spec.task.name, spec.model.name)))


def _ready(request: Request, found: list[StudyPlan]) -> Device:
    """Refuse at once what every trial would fail with."""
    device = get_device(request.device_name())
    Store(request.home).prepare()
    context = RunContext(request.home, request.data, request.cache, str(device), request.plugins)
    prepare_data([plan.base_spec for plan in found], context)
    return device


def _carry_out(assignment: WorkerConfig, studies: list[TuningStudy], jobs: int, console: Screen) -> None:
    start, before = time.perf_counter(), _seconds(studies)
    try:
        with Board(console, studies, assignment.budget, jobs) as board:
            if jobs == 1:
                with signals.stop_on_signals():
                    run_worker(assignment, on_trial_end=board.look)
            else:
                run_workers(assignment, jobs, board.look)
    finally:
        for study in studies:  # what a worker that was stopped had under way
            study.requeue_lost_trials(assignment.context.home)
    whole, runs = time.perf_counter() - start, _seconds(studies) - before
    _say(console, f"{whole:.1f} s gone, {runs:.1f} s of them in runs, {jobs} at a time")


def _seconds(studies: list[TuningStudy]) -> float:
    return sum(
        float(trial.user_attrs.get("in_runs", 0.0)) for study in studies for trial in study.finished_trials()
    )


def _failed(study: TuningStudy) -> bool:
    return any(trial.state.name == "FAIL" for trial in study.finished_trials())


def _conclude(studies: list[TuningStudy], path: Path | None, home: Path, console: Screen) -> None:
    """Say what was best of each study, and how to go on."""
    for study in studies:
        trials = study.finished_trials()
        for trial in best_trials(study.study):
            values = ", ".join(f"{value:.6g}" for value in trial.values)
            params = ", ".join(f"{name}={value:.6g}" for name, value in trial.params.items())
            _say(
                console,
                f"{study.plan.study_name}: trial {trial.number} of {len(trials)}: {values} with {params}",
            )
    if path is None:
        _say(console, "no trial was judged: there is nothing to choose from")
        return
    where = f"--home {shlex.quote(str(home))}"
    _say(console, f"chosen settings: {path.resolve()}")
    _say(
        console, f"        `plastibench run --tuned {path.stem} {where}` measures them on seeds of their own"
    )


def _say(console: Screen, line: str) -> None:
    console.print(Text(line), soft_wrap=True)


def report(request: Request, words: Mapping[str, Any]) -> int:
    """Say and draw what the trials of a tuning have taught; return the exit status.

    Raises RequestError where there is no such tuning.
    """
    store = open_storage(request.home, words["url"])
    known = tuning_names(store)
    name = words["name"] or request.suite or (known[0] if len(known) == 1 else None)
    if name is None:
        listed = ", ".join(known) or "none"
        raise RequestError(f"--report needs the --name of a tuning (there are: {listed})")
    if name not in known:
        raise unknown("tuning", name, known)
    found = [summary.summarize(study) for study in load_studies(store, name)]
    click.echo(summary.format_summaries(found), nl=False)
    for path in plots.save_plots(found, tuned_settings.suite_path(request.home, name).parent, name):
        click.echo(f"picture: {path.resolve()}", err=True)
    return DONE
