"""Verification of runs: equal, or the differences are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import command, small_run

from plastibench.store.record import content_digest
from plastibench.store.run_store import Store


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    assert small_run(folder, "--method", "warm,dash").status == 0
    return folder


@pytest.mark.heavy
def test_genuine_record_is_verified_and_unchanged(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("run.json")}
    records = list(Store(home).records())
    answer = command("verify", "--home", home, *(record.id for record in records))
    assert answer.status == 0, answer.err
    assert answer.out.count("all numbers of 2 stages are equal") == 2
    assert before == {path: path.read_bytes() for path in home.rglob("run.json")}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda plain: plain["stages"][1].update(test_correct=1), "stage 2, test_correct: 1 in the record"),
        (lambda plain: plain["stages"][0].update(steps=999), "stage 1, steps: 999 in the record"),
        (lambda plain: plain.update(status="diverged"), "status: diverged in the record, done now"),
    ],
)
def test_tampered_record_is_detected(change: Any, expected: str, tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm").status == 0
    (path,) = tmp_path.rglob("run.json")
    plain = json.loads(path.read_text())
    change(plain)
    del plain["digest"]
    # Whoever changes a record can make its digest anew: only running it again shows the truth.
    path.write_text(json.dumps(plain | {"digest": content_digest(plain)}))
    answer = command("verify", "--home", tmp_path, path.parent.name[:6])
    assert answer.status == 1
    assert expected in answer.out


def test_other_versions_are_named_if_numbers_differ(tmp_path: Path) -> None:
    assert small_run(tmp_path, "--method", "warm").status == 0
    (path,) = tmp_path.rglob("run.json")
    plain = json.loads(path.read_text())
    plain["stages"][0]["train_loss"] += 1e-6
    plain["provenance"]["torch"] = "2.99"
    del plain["digest"]
    path.write_text(json.dumps(plain | {"digest": content_digest(plain)}))
    answer = command("verify", "--home", tmp_path, path.parent.name)
    assert answer.status == 1
    assert "equal bits are not promised: torch 2.99 and" in answer.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["zzz"], "no finished run named 'zzz'"),
        ([""], "no finished run named ''"),
        (["../../etc/passwd"], "no finished run named"),
        ([], "name the runs to repeat, or give --sample N"),
    ],
)
def test_unknown_run_prints_one_line(words: list[str], expected: str, home: Path) -> None:
    answer = command("verify", "--home", home, *words)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert expected in answer.err


def test_ambiguous_id_is_refused(home: Path, tmp_path: Path) -> None:
    ids = [record.id for record in Store(home).records()]
    (tmp_path / "runs").mkdir()
    for run in ids:
        twin = tmp_path / "runs" / "ab" / f"ab{run[2:]}"
        twin.mkdir(parents=True)
        (twin / "run.json").write_text("{}")
    refused = command("verify", "--home", tmp_path, "ab")
    assert (refused.status, "2 ids begin so" in refused.err) == (2, True)
    damaged = command("verify", "--home", tmp_path, f"ab{ids[0][2:]}")
    assert (damaged.status, "is damaged" in damaged.err) == (2, True)
