"""Tuning from end to end: trials, budgets, the resulting suite, the report, invalid requests."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import statistics
from pathlib import Path

import optuna
import pytest
from support.commands import SMALL, command, plugin
from support.tuning import COSTLY, NAME, small_tune, studies, trials

from plastibench.experiments import suites
from plastibench.experiments.seeds import FIRST_TUNING_SEED
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store
from plastibench.tuning.summary import expected_best
from plastibench.tuning.trials import COSTS

METHODS = ("--method", "warm,shrink_perturb", "--tune", "learning_rate")

GUARDED = '''"""A task of a test."""
from collections.abc import Iterator
from dataclasses import dataclass, replace
from plastibench.api import DataContext, Dataset, DatasetSplits, ImageTask, Stage, load_digits


class Untouchable(Dataset):
    shape = take = batches = __getitem__ = None

    def __getattribute__(self, name):
        raise AssertionError(f"the test data were touched: {name}")

    def __len__(self):
        raise AssertionError("the test data were counted")


@dataclass(frozen=True, kw_only=True)
class Guarded(ImageTask):
    """Digits whose test split raises when it is touched."""

    default_architecture = "small_resnet"
    shape = (1, 8, 8)
    num_classes = 10

    def load(self, context: DataContext) -> DatasetSplits:
        return self.preprocess(load_digits(), context)

    def stream(self, seed: int, context: DataContext) -> Iterator[Stage]:
        for stage in super().stream(seed, context):
            yield replace(stage, test=Untouchable())
'''


@pytest.fixture(scope="module")
def tuned_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a home folder in which two methods were tuned with two trials of two seeds."""
    home = tmp_path_factory.mktemp("home")
    answer = small_tune(home, *METHODS, "--trials", 2, "--seeds-per-trial", 2, "--seeds", "7,")
    assert answer.status == 0, answer.err
    return home


def test_trial_0_has_the_published_values_and_each_method_its_number_of_trials(tuned_home: Path) -> None:
    perturb, warm = studies(tuned_home)
    assert len(trials(perturb)) == len(trials(warm)) == 2
    assert trials(perturb)[0].params == {
        "shrink_perturb.shrink": 0.4,
        "shrink_perturb.noise": 0.1,
        "learning_rate": 0.01,
    }
    assert trials(warm)[0].params == {"learning_rate": 0.01}
    assert trials(warm)[1].params != {"learning_rate": 0.01}


def test_trials_are_untested_runs_on_seeds_that_no_report_has(tuned_home: Path) -> None:
    for study in studies(tuned_home):
        for trial in trials(study):
            records = [Store(tuned_home).read(run) for run in trial.user_attrs["runs"]]
            assert [r.spec.seed for r in records if r] == [FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1]
            accuracies = [row["validation_accuracy"] for r in records if r for row in r.stages]
            assert trial.value == pytest.approx(100 * sum(accuracies) / len(accuracies))
            assert all(r.spec.held_out_test for r in records if r)
            assert all(row["test_accuracy"] is None for r in records if r for row in r.stages)


def test_repeated_command_does_nothing(tuned_home: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tuned_home.rglob("run.json")}
    answer = small_tune(tuned_home, *METHODS, "--trials", 2, "--seeds-per-trial", 2, "--seeds", "7,")
    assert answer.status == 0
    assert "used already, nothing to do" in answer.err
    assert before == {path: path.stat().st_mtime_ns for path in tuned_home.rglob("run.json")}


@pytest.mark.heavy
def test_numbers_of_a_tuning_have_units(tuned_home: Path) -> None:
    report = command("tune", "--report", "--home", tuned_home).out
    assert len(re.findall(r"published   [\d.]+ %\n", report)) == 2
    assert len(re.findall(r"best        trial \d: [\d.]+ % with", report)) == 2
    assert len(re.findall(r"expected    [\d.]+ \+- [\d.e-]+ % for 1 trial, [\d,]+ passes; ", report)) == 2
    answer = small_tune(tuned_home, *METHODS, "--trials", 2, "--seeds-per-trial", 2, "--seeds", "7,")
    said = answer.err + answer.out
    assert "2 studies, 2 trials each" in said
    assert re.search(r"warm-\w+: trial \d of 2 trials: [\d.]+ % with learning_rate", said)


@pytest.mark.heavy
def test_printed_command_runs_the_chosen_settings(tuned_home: Path) -> None:
    words = (*METHODS, "--trials", 2, "--seeds-per-trial", 2, "--seeds", "7,")
    said = small_tune(tuned_home, *words, "--data", tuned_home / "my data").out
    _, verb, *printed = shlex.split(re.findall(r"^  (plastibench run .*)", said, re.MULTILINE)[-1])
    assert printed == ["--tuned", NAME, "--home", str(tuned_home), "--data", str(tuned_home / "my data")]
    assert command(verb, "--no-mlflow", *printed).status == 0


def test_result_is_a_suite_with_published_and_chosen_settings(tuned_home: Path) -> None:
    suite = suites.load(str(tuned_home / "tuned" / f"{NAME}.toml"))
    specs = [spec for grid in suite.grids for spec in grid.specs(Registry())]
    assert [grid.tuned is not None for grid in suite.grids] == [False, True, False, True]
    assert {spec.seed for spec in specs} == {7}
    assert not any(spec.held_out_test or spec.task.settings["validation"] for spec in specs)
    _, warm = studies(tuned_home)
    assert specs[-1].recipe["learning_rate"] == warm.best_params["learning_rate"]


@pytest.mark.heavy
def test_table_has_default_and_tuned_rows(tuned_home: Path, tmp_path: Path) -> None:
    suite = tuned_home / "tuned" / f"{NAME}.toml"
    for words in (("--tuned", NAME, "--home", tuned_home), (suite, "--home", tmp_path)):
        answer = command("run", "--no-mlflow", *words)
        assert answer.status == 0, answer.err
        assert answer.out.count("gain over warm") == 1
        home = words[-1]
        (table,) = json.loads(command("table", "--format", "json", "--home", home).out)["tables"]
        default = {"warm", "shrink_perturb"}
        labels = {row["method"] for row in table["rows"]}
        assert default <= labels <= {*default, *(f"{name} (tuned, 2 trials)" for name in default)}
        cost = {row["method"].partition(" ")[0]: row for row in table["rows"] if "tuning_passes" in row}
        for study, method in zip(studies(tuned_home), ("shrink_perturb", "warm"), strict=True):
            spent = [trial.user_attrs[COSTS] for trial in study.get_trials()]
            for name, unit in {"passes": 1, "flops": 1, "hours": 3600}.items():
                shown = cost[method][f"tuning_{name.replace('hours', 'seconds')}"]
                assert shown == pytest.approx(sum(unit * one[name] for one in spent), abs=1e-3)
        wide = command(
            "table", "--format", "md", "--columns", "tuning_passes,tuning_flops", "--home", home
        ).out
        assert f"| {cost['warm']['tuning_passes']:,.0f} |" in wide
        assert "tuning: of all trials of the study that chose a row's settings" in wide
        assert any("2 trials in study digits-small_resnet/warm-" in note for note in table["notes"])
        assert "has changed since tuning" not in answer.err
    copy = tmp_path / "copy.toml"
    copy.write_text(re.sub('^warm = ".*"', 'warm = "0123"', suite.read_text(), flags=re.MULTILINE))
    warned = command("run", "--no-mlflow", copy, "--home", tmp_path)
    assert (warned.status, "finished already" in warned.err) == (0, True)
    assert "method warm has changed since tuning copy: its settings were chosen for other code" in warned.err


def test_tuning_cannot_read_the_test_data(tmp_path: Path) -> None:
    task = plugin(tmp_path, "guarded", source=GUARDED)
    words = (
        "--plugin",
        task,
        "--task",
        "guarded",
        "--method",
        "shrink_perturb",
        "--home",
        tmp_path / "home",
        *SMALL,
    )
    answer = command("tune", "--no-mlflow", *words, "--trials", 1, "--seeds-per-trial", 1)
    assert answer.status == 0, answer.err
    reported = command("run", "--no-mlflow", "--seeds", 1, *words)
    assert reported.status == 1
    assert "the test data were" in reported.err


@pytest.mark.heavy
def test_method_that_costs_twice_as_much_has_half_the_trials(tmp_path: Path) -> None:
    mine = plugin(tmp_path, "mine", source=COSTLY)
    home = tmp_path / "home"
    words = ("--plugin", mine, "--method", "mine,warm", "--tune", "learning_rate", "--no-pruning")
    answer = small_tune(home, *words, "--budget", "1400passes")
    assert answer.status == 0, answer.err
    costly, warm = studies(home)
    # 117 + 2 * 59 examples, less the tenth that is set aside, in one epoch a stage.
    assert [len(trials(costly)), len(trials(warm))] == [4, 8]
    for study, each in ((costly, 352), (warm, 176)):
        assert trials(study)[0].user_attrs["spent"]["passes"] == pytest.approx(each, abs=4)


@pytest.mark.heavy
def test_trials_use_the_requested_threads(tmp_path: Path) -> None:
    words = ("--method", "warm", "--tune", "learning_rate", "--trials", 1, "--threads", 2)
    assert small_tune(tmp_path, *words).status == 0
    assert [record.provenance["threads"] for record in Store(tmp_path).records()] == [2]


@pytest.mark.heavy
def test_budget_in_flops_counts_what_the_remedy_takes(tmp_path: Path) -> None:
    mine = plugin(tmp_path, "mine", source=COSTLY)
    home = tmp_path / "home"
    words = ("--plugin", mine, "--method", "mine,warm", "--tune", "learning_rate", "--no-pruning")
    assert small_tune(home, *words, "--trials", 1, "--name", "one").status == 0
    costs = [trials(study)[0].user_attrs["spent"]["flops"] for study in studies(home, "one")]
    assert costs[0] == pytest.approx(2 * costs[1], rel=0.05)
    answer = small_tune(home, *words, "--budget", f"{3.5 * costs[1]:.0f}flops", "--name", "two")
    assert answer.status == 0, answer.err
    assert [len(trials(study)) for study in studies(home, "two")] == [2, 4]


@pytest.mark.heavy
def test_accuracy_per_cost_and_two_objectives_are_what_the_runs_say(tmp_path: Path) -> None:
    words = ("--method", "shrink_perturb", "--trials", 3)
    assert small_tune(tmp_path, *words, "--objective", "per_cost", "--name", "one").status == 0
    assert small_tune(tmp_path, *words, "--objective", "mean,cost", "--name", "two").status == 0
    for name in ("one", "two"):
        (study,) = studies(tmp_path, name)
        assert len(trials(study)) == 3
        for trial in trials(study):
            record = Store(tmp_path).read(trial.user_attrs["runs"][0])
            assert record is not None
            accuracy = 100 * statistics.fmean(row["validation_accuracy"] for row in record.stages)
            cost = sum(row["train_passes"] + row["remedy_passes"] for row in record.stages)
            cost += sum(row["remedy_forwards"] for row in record.stages) / 3
            expected = [accuracy / (cost / 1e6)] if name == "one" else [accuracy, cost]
            assert trial.values == pytest.approx(expected)
    suite = suites.load(str(tmp_path / "tuned" / "two.toml"))
    front = {trial.number for trial in study.best_trials}
    assert {grid.tuned["trial"] for grid in suite.grids if grid.tuned is not None} == front


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "warm", "--trials", 2), "method warm declares no tune() field"),
        (("--method", "dash", "--trials", 0), "--trials 0 is not allowed"),
        (("--method", "dash", "--trials", -3), "--trials -3 is not allowed"),
        (("--method", "dash"), "no budget"),
        (("--method", "dash", "--trials", 2, "--budget", "1h"), "not both"),
        (("--method", "dash", "--budget", "5 apples"), "--budget 5 apples is not allowed"),
        (("--method", "dash", "--budget", "-1h"), "--budget -1h is not allowed"),
        (("--method", "dash", "--trials", 2, "--objective", "lats"), "did you mean 'last'?"),
        (("--method", "dash", "--trials", 2, "--objective", "last,last"), "two that differ"),
        (("--method", "dash", "--trials", 2, "--tune", "learning_rat"), "did you mean 'learning_rate'?"),
        (("--method", "dash", "--trials", 2, "--tune", "optimizer"), "no number to tune named 'optimizer'"),
        (("--method", "dash", "--trials", 2, "--tune", "learning_rate=1"), "write learning_rate=LOW:HIGH"),
        (("--method", "dash", "--trials", 2, "--tune", "learning_rate=0:1:log"), "above 0"),
        (
            ("--method", "dash", "--trials", 2, "--tune", "learning_rate=1:2"),
            "does not hold its published value",
        ),
        (("--method", "dash", "--trials", 2, "--tune", "momentum=0:2"), "momentum=2 is not allowed"),
        (("--method", "dash", "--trials", 2, "--tune", "weight_decay"), "needs a range"),
        (("--method", "dash", "--trials", 2, "--name", "a/b"), "must not contain slashes"),
        (
            ("--method", "dash", "--trials", 2, "--storage", "postgresql://me:pw@127.0.0.1:1/x"),
            "cannot be reached",
        ),
        (("--method", "dash", "--trials", 2, "--storage", "nonsense"), "is not allowed"),
    ],
)
def test_invalid_request_is_one_line(tmp_path: Path, words: tuple[object, ...], message: str) -> None:
    answer = small_tune(tmp_path / "home", *words)
    assert answer.status == 2, answer.err
    assert message in answer.lines()[-1]
    assert ":pw@" not in answer.err
    assert "pw" not in answer.err
    assert not list(tmp_path.rglob("run.json"))


def test_study_with_another_search_space_is_refused(tuned_home: Path) -> None:
    changed = (
        "--method",
        "warm",
        "--tune",
        "learning_rate=0.001:0.02",
        "--trials",
        3,
        "--seeds-per-trial",
        2,
    )
    answer = small_tune(tuned_home, *changed)
    assert answer.status == 2
    assert f"study {NAME}/warm-" in answer.err
    assert "another search space (learning_rate 0.001..0.1 log; now learning_rate 0.001..0.02)" in answer.err
    assert "--name" in answer.err
    other = small_tune(tuned_home, *changed, "--objective", "last", "--name", "other")
    assert other.status == 0, other.err


def test_run_tuned_needs_a_tuning(tmp_path: Path) -> None:
    answer = command("run", "--tuned", "--home", tmp_path)
    assert answer.status == 2
    assert "needs the name of one tuning" in answer.err


@pytest.mark.heavy
def test_report_summarizes_and_plots_the_trials(tuned_home: Path) -> None:
    answer = command("tune", "--report", "--home", tuned_home, "--name", NAME)
    assert answer.status == 0, answer.err
    _, warm = studies(tuned_home)
    top = max(trial.value or 0.0 for trial in trials(warm))
    assert f"trial {warm.best_trial.number}: {top:.6g} % with learning_rate=" in answer.out
    assert answer.out.count("2 complete, 0 pruned, 0 failed") == 2
    drawn = sorted(path.name for path in (tuned_home / "tuned").glob("*.svg"))
    assert drawn == [f"{NAME}-{kind}.svg" for kind in ("expected", "history", "slices")]
    refused = command("tune", "--report", "--home", tuned_home, "--name", NAME[:-1])
    assert (refused.status, f"did you mean '{NAME}'" in refused.err) == (2, True)


def test_expected_best_is_the_mean_over_all_draws() -> None:
    values = [3.0, 1.0, 2.0]
    made = [optuna.trial.create_trial(value=value, user_attrs={COSTS: {"passes": 10.0}}) for value in values]
    for point in expected_best(made):
        best = [max(draw) for draw in itertools.product(values, repeat=point.num_trials)]
        assert point.mean == pytest.approx(statistics.fmean(best))
        assert point.std == pytest.approx(statistics.pstdev(best))
        assert point.passes == 10 * point.num_trials


def test_what_a_system_leaves_beside_a_tuning_is_no_tuning(tuned_home: Path, tmp_path: Path) -> None:
    home = shutil.copytree(tuned_home, tmp_path / "home")
    (home / "tuned" / "other.toml").unlink(missing_ok=True)  # of another test
    (home / "tuned" / f"._{NAME}.toml").write_bytes(b"\0\5\x16\7Mac OS X")
    answer = command("run", "--no-mlflow", "--tuned", "--home", home)
    assert answer.status == 0, answer.err
