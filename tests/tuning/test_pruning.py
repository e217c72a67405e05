"""Pruning: which trials end early, what is said of them, and that they change no choice."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from support.commands import SMALL, CommandResult, command, plugin, program
from support.servers import wait
from support.tuning import FADING, LEARNING, NAME, small_tune, studies, trials

from plastibench.experiments import suites
from plastibench.store.run_store import Store
from plastibench.tuning.pruning import StageScore, check_behind, check_limit
from plastibench.tuning.summary import expected_best
from plastibench.tuning.trials import COSTS


def tune_fading(folder: Path, *words: object) -> CommandResult:
    """Tune `fading` with one seed per trial unless `words` say otherwise."""
    file = plugin(folder, "fading", source=FADING)
    options = ("--plugin", file, "--task", "digits", "--method", "fading", "--home", folder / "home")
    seeds = () if "--seeds-per-trial" in words else ("--seeds-per-trial", 1)
    return command("tune", "--no-mlflow", *options, *LEARNING, *seeds, *words)


@pytest.fixture(scope="module")
def faded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CommandResult]:
    """Return a home folder with three trials of `fading`, and what the command said."""
    folder = tmp_path_factory.mktemp("fading")
    answer = tune_fading(folder, "--trials", 3, "--seeds-per-trial", 2)
    assert answer.status == 0, answer.err
    return folder / "home", answer


@pytest.mark.heavy
def test_trial_that_cannot_learn_any_more_ends_at_that_stage(faded: tuple[Path, CommandResult]) -> None:
    home, answer = faded
    (study,) = studies(home)
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "PRUNED", "PRUNED"]
    for trial in trials(study, "PRUNED"):
        assert [score["stop"] for score in trial.user_attrs["stages"]][1:] == ["max_epochs"]
        assert trial.user_attrs["pruning_rule"] == "limit"
        assert trial.user_attrs["reason"].startswith("stage 2 ended at max_epochs with ")
        assert f"fading trial {trial.number}: pruned: stage 2 ended at max_epochs with " in answer.err
        assert Store(home).read(trial.user_attrs["runs"][0]) is None, "its run goes no further"


@pytest.mark.heavy
def test_report_counts_the_pruned_trials_and_names_them(faded: tuple[Path, CommandResult]) -> None:
    home, _ = faded
    report = command("tune", "--report", "--home", home)
    assert "trials      1 complete, 2 pruned, 0 failed" in report.out
    assert "pruned      trials by rule: limit: 1, 2" in report.out
    assert "best        trial 0: " in report.out


@pytest.mark.heavy
def test_pruned_trials_are_not_chosen(faded: tuple[Path, CommandResult]) -> None:
    home, _ = faded
    (_, chosen) = suites.load(str(home / "tuned" / f"{NAME}.toml")).grids
    expected = {"study": studies(home)[0].study_name, "trials": 3, "trial": 0}
    assert chosen.tuned is not None
    assert expected.items() <= chosen.tuned.items()


@pytest.mark.heavy
def test_rest_is_estimated_from_the_first_trial_on(faded: tuple[Path, CommandResult]) -> None:
    _, answer = faded
    ends = [line for line in answer.lines() if re.search(r"\bfading trial \d", line)]
    assert ["left" in line for line in ends] == [True, True, False]
    assert "; about " in ends[0]


@pytest.mark.heavy
def test_resume_leaves_the_runs_of_pruned_trials_alone(faded: tuple[Path, CommandResult]) -> None:
    home, _ = faded
    finished = Store(home).ids()
    answer = command("resume", "--no-mlflow", "--home", home)
    assert answer.status == 0, answer.err
    assert Store(home).ids() == finished


@pytest.mark.heavy
def test_without_pruning_every_trial_is_carried_to_its_end(tmp_path: Path) -> None:
    assert tune_fading(tmp_path, "--trials", 2, "--no-pruning").status == 0
    (study,) = studies(tmp_path / "home")
    assert [len(trial.user_attrs["stages"]) for trial in trials(study)] == [3, 3]


@pytest.mark.heavy
@pytest.mark.slow
def test_limit_prunes_with_two_objectives_too(tmp_path: Path) -> None:
    assert tune_fading(tmp_path, "--trials", 2, "--objective", "mean,cost").status == 0
    (study,) = studies(tmp_path / "home")
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE", "PRUNED"]


@pytest.mark.heavy
def test_limit_that_every_setting_meets_prunes_nothing(tmp_path: Path) -> None:
    assert small_tune(tmp_path, "--method", "shrink_perturb", "--trials", 4).status == 0
    (study,) = studies(tmp_path)
    assert len(trials(study)) == 4, "one epoch a stage is far below the target for everyone"


def score(
    step: int,
    value: float,
    train_accuracy: float = 1.0,
    stop: str = "target_accuracy",
    reached: float | None = None,
) -> StageScore:
    return StageScore(step, step, value, value if reached is None else reached, train_accuracy, stop)


@pytest.mark.parametrize("stop", ["max_epochs", "max_steps"])
def test_limit_is_half_of_what_the_published_settings_reach(stop: str) -> None:
    published = {0: score(0, 90.0, train_accuracy=0.8)}
    assert check_limit(score(0, 90.0, 0.41, stop), published) is None
    pruned = check_limit(score(0, 90.0, 0.39, stop), published)
    assert pruned is not None
    assert pruned.reason.startswith(f"stage 1 ended at {stop} with 39.0 % training accuracy (published")
    assert check_limit(score(0, 90.0, 0.39, "target_accuracy"), published) is None
    assert check_limit(score(1, 90.0, 0.39, stop), published) is None, "nothing to compare with yet"


@pytest.mark.parametrize("sign", [1, -1])
def test_trial_that_is_behind_is_pruned_once_it_cannot_be_chance(sign: int) -> None:
    published = {step: score(step, 50.0) for step in range(20)}
    behind = [score(step, 50.0 - sign) for step in range(6)]
    ties = [score(step, 50.0, reached=50.0 - sign / 2) for step in range(6, 12)]
    ahead = [score(12, 50.0 + sign, reached=50.0 - sign / 3)]
    assert check_behind(behind[:5], published, sign) is None
    pruned = check_behind([*behind, *ties], published, sign)
    assert pruned is not None
    assert pruned.reason == "worse than the published settings in 6 of 6 stages"
    assert check_behind([*behind, *ties, *ahead], published, sign) is None
    assert check_behind(behind, published, -sign) is None
    assert check_behind(behind, {}, sign) is None


def test_trial_whose_objective_is_ahead_is_not_pruned_for_many_stages_that_are_not() -> None:
    # The published settings are better in six stages and collapse in one.
    published = {step: score(step, 100.0, reached=100.0) for step in range(6)}
    published[6] = score(6, 12.0, reached=87.0)
    trial = [score(step, 98.0, reached=98.0) for step in range(7)]
    assert check_behind(trial[:6], published, 1) is not None
    assert check_behind(trial, published, 1) is None


def test_pruned_trial_does_not_raise_what_a_budget_is_expected_to_give() -> None:
    values = {"COMPLETE": [1.0, 2.0], "PRUNED": [9.0]}
    made = [
        optuna.trial.create_trial(value=value, state=optuna.trial.TrialState[state], user_attrs={COSTS: {}})
        for state in values
        for value in values[state]
    ]
    assert expected_best(made)[-1].mean == pytest.approx(2 - (2 / 3) ** 3)


@pytest.mark.heavy
@pytest.mark.slow
def test_killed_tuning_prunes_the_same_trials(tmp_path: Path, faded: tuple[Path, CommandResult]) -> None:
    words = ("--trials", 3, "--seeds-per-trial", 2)
    (tmp_path / "slow").touch()
    file = plugin(tmp_path, "fading", source=FADING)
    home = tmp_path / "home"
    options = ("--plugin", file, "--task", "digits", "--method", "fading", "--home", home, *LEARNING)
    one = program("tune", "--no-mlflow", "--jobs", 1, *options, *words)
    with subprocess.Popen(one, stderr=subprocess.PIPE) as first:
        # The run of the second trial, whose published one has two, has begun.
        wait(lambda: len(list(home.glob("runs/??/*/events.jsonl"))) == 3, "the second trial", seconds=120)
        first.send_signal(signal.SIGKILL)
    (tmp_path / "slow").unlink()
    answer = tune_fading(tmp_path, *words)
    assert answer.status == 0, answer.err
    (once,), (again,) = studies(faded[0]), studies(home)
    kept = [trial for trial in again.get_trials() if trial.state.name != "FAIL"]
    for a, b in zip(once.get_trials(), kept, strict=True):
        assert (a.params, a.state) == (b.params, b.state)
        for name in ("runs", "reason", "stages"):
            assert a.user_attrs.get(name) == b.user_attrs.get(name)


@pytest.mark.heavy
def test_digits_are_tuned_at_the_length_of_the_quick_start(tmp_path: Path) -> None:
    short = ("--set", "train_size=130", "--set", "max_epochs=1", "--set", "width=4")
    words = ("--task", "digits", "--method", "shrink_perturb", "--trials", 2, "--seeds-per-trial", 1, *short)
    answer = command("tune", "--no-mlflow", "--home", tmp_path, *words)
    assert answer.status == 0, answer.err
    assert answer.lines()[0] == (
        "stages=10, as in the quick start; --set stages=50 tunes at the length of `run`"
    )
    (published, chosen) = suites.load(str(tmp_path / "tuned" / f"{NAME}.toml")).grids
    assert published.settings["stages"] == chosen.settings["stages"] == "10"
    measured = command("run", "--no-mlflow", "--home", tmp_path, "--tuned", NAME, "--seeds", 1)
    assert measured.status == 0, measured.err
    assert "stages=10" in measured.out


@pytest.mark.heavy
def test_number_of_stages_is_the_users_or_the_regimes(tmp_path: Path) -> None:
    words = ("--task", "digits", "--method", "shrink_perturb", "--trials", 1, "--seeds-per-trial", 1)
    for setting in ("stages=2", "max_stages=2", "regime=two_phase"):
        settings = (*SMALL[2:], "--set", "train_size=400", "--set", setting)
        answer = command("tune", "--no-mlflow", "--home", tmp_path, *words, *settings)
        assert answer.status == 0, answer.err
        assert "as in the quick start" not in answer.err


@pytest.mark.slow
@pytest.mark.heavy
def test_first_tuning_of_the_readme_ends_within_four_minutes(tmp_path: Path) -> None:
    lines = Path("README.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("plastibench tune ")]
    words = shlex.split(line.partition("#")[0])[1:]
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "plastibench", *words, "--home", tmp_path], check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 240
