"""What settings are said to have taken is never less than the trials of their study say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import TrialState
from support.commands import command
from support.recorded import lines_of
from support.reports import a_home, some_runs

from plastibench.errors import RequestError
from plastibench.store import tuned_settings
from plastibench.store.tuned_settings import TunedSettings
from plastibench.tuning.recount import recount
from plastibench.tuning.storage import open_storage

STUDY = "mine/warm-0123ab"
TRIALS = (
    (TrialState.COMPLETE, 50.0, {"passes": 100.0, "hours": 0.5, "flops": 1e12}),
    (TrialState.PRUNED, None, {"passes": 10.0, "hours": 0.1, "flops": 1e11}),
    (TrialState.COMPLETE, 60.0, {"passes": 100.0, "hours": 0.5, "flops": 1e12}),
    (TrialState.FAIL, None, {"passes": 5.0, "hours": 0.05, "flops": 1e10}),
)
"""State, value and costs of each trial."""
WHOLE = {"passes": 215.0, "flops": 2.11e12, "seconds": 4140.0}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    study = optuna.create_study(study_name=STUDY, storage=open_storage(tmp_path, None), direction="maximize")
    study.set_user_attr("defaults", {"x": 0.0})
    for number, (state, value, costs) in enumerate(TRIALS):
        add(study, float(number), state, value, costs)
    return tmp_path


def add(
    study: optuna.Study, x: float, state: TrialState, value: float | None, costs: Mapping[str, float]
) -> None:
    attributes: dict[str, Any] = {"spent": dict(costs), "reason": "whatever"}
    distributions: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 9.0)}
    study.add_trial(
        optuna.trial.create_trial(
            state=state, value=value, params={"x": x}, distributions=distributions, user_attrs=attributes
        )
    )


def test_all_trials_count_pruned_and_failed_ones_too(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for said in (
        TunedSettings(STUDY, 1, 2, passes=1.0),
        TunedSettings(STUDY, 4, 2, passes=215.0, seconds=4139.0),
    ):
        caplog.clear()
        (found,) = recount(home, {"v": said}).values()
        assert (found.trials, found.trial) == (4, 2)
        assert found.cost == pytest.approx(WHOLE)
        (record,) = caplog.records
        assert "4 trials, 215 passes, 2.11 TFLOPs, 4,140.0 s as its trials say, not" in record.getMessage()


def test_what_is_right_or_was_not_known_is_no_news(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    for said in (TunedSettings(STUDY, 4, 2).with_cost(WHOLE), TunedSettings(STUDY, 4, 2)):
        (found,) = recount(home, {"v": said}).values()
        assert found.cost == pytest.approx(WHOLE)
    assert not caplog.records


def test_an_earlier_choice_took_the_trials_up_to_then(home: Path) -> None:
    (found,) = recount(home, {"v": TunedSettings(STUDY, 2, 0, passes=1.0)}).values()
    assert (found.trials, found.cost["passes"]) == (2, 110.0)
    (found,) = recount(home, {"v": TunedSettings(STUDY, 1, 0)}).values()
    assert (found.trials, found.cost["passes"]) == (1, 100.0)


def test_a_cost_that_a_trial_does_not_know_is_not_known(home: Path) -> None:
    study = optuna.load_study(study_name=STUDY, storage=open_storage(home, None))
    add(study, 5.0, TrialState.COMPLETE, 55.0, {"passes": 1.0, "hours": 0.0})
    (found,) = recount(home, {"v": TunedSettings(STUDY, 4, 2)}).values()
    assert (found.trials, set(found.cost)) == (5, {"passes", "seconds"})


def test_studies_that_are_elsewhere_are_believed_and_trials_that_do_not_exist_refused(home: Path) -> None:
    said = {"v": TunedSettings("theirs/warm-0", 3, 1, passes=7.0)}
    assert recount(home, said) == said
    assert recount(home / "another", said) == said
    assert not (home / "another").exists()
    with pytest.raises(RequestError, match=r"trial 9 of study mine/warm-0123ab, .* its 4 finished trials"):
        recount(home, {"v": TunedSettings(STUDY, 10, 9)})


def test_a_submission_has_what_the_trials_took(home: Path, tmp_path: Path) -> None:
    named = [(run, replace(run.spec.model, name="mlp_bn")) for run in some_runs(1, ("warm",), task="digits")]
    runs = [replace(run, spec=replace(run.spec, model=model)) for run, model in named]
    a_home(home, runs)
    tuned_settings.save(home, {runs[0].variant_id: TunedSettings(STUDY, 1, 2, passes=1.0)})
    out = tmp_path / "file.jsonl.xz"
    packed = command("submit", "--home", home, "--out", out)
    assert packed.status == 0, packed.err
    assert f"tuned with 4 trials: study {STUDY}, 215 passes, 2.11 TFLOPs, 4,140.0 s" in packed.out
    assert "1 trial, 1 passes" not in packed.out
    (line,) = (line["tuned"] for line in lines_of(out) if "tuned" in line)
    assert (line["trials"], line["passes"], line["seconds"]) == (4, 215.0, 4140.0)
