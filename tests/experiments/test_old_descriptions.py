"""Records made before regimes were plug-ins are read, with their ids."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.commands import command

from plastibench.analysis.labels import setting_label
from plastibench.errors import RequestError
from plastibench.experiments.spec import Spec, build
from plastibench.plugins.registry import Registry
from plastibench.store.run_store import Store

OLD = Path(__file__).parent / "old"
"""A record of version 0.1.0, and the description of a tuning run with validation data."""
RUN = "69fb53698bf74b5b"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / RUN[:2] / RUN
    folder.mkdir(parents=True)
    (folder / "run.json").write_text((OLD / "run.json").read_text())
    spec = json.loads((OLD / "run.json").read_text())["spec"]
    (folder / "spec.json").write_text(json.dumps(spec))
    return tmp_path


def test_an_old_record_is_read_with_its_id_and_shown(home: Path) -> None:
    store = Store(home)
    (record,) = store.records()
    assert store.damaged == {}
    assert record.id == RUN
    label = setting_label(record.spec)
    assert label.startswith("cifar10 (edition=restored regime=accumulate stages=3 train_size=1500)")
    answer = command("table", "--home", home, "--format", "csv")
    assert answer.status == 0
    assert "24.97" in answer.out


def test_an_old_description_keeps_its_id_and_its_condition() -> None:
    plain = json.loads((OLD / "spec.json").read_text())
    spec = Spec.from_dict(plain)
    assert spec.held_out_test
    assert (spec.id, spec.condition_id) == ("d860c994bf3848e3", "ebcce99dc4689404")
    assert spec.as_dict() == plain
    assert spec.task_settings["buffer"] == 70


def test_an_old_run_is_not_resumed_with_other_code(home: Path, registry: Registry) -> None:
    (record,) = Store(home).records()
    with pytest.raises(RequestError, match="the code of model small_resnet has changed since"):
        build(record.spec, registry)
    (home / "runs" / RUN[:2] / RUN / "run.json").unlink()
    answer = command("resume", "--no-mlflow", "--home", home)
    assert answer.status != 0
    assert "the code of model small_resnet has changed since" in answer.err
