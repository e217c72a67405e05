"""Rows of records files that are run again: to the bit, within the spread of the seeds, or neither."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.commands import CommandResult, command, plugin, small_run
from support.recorded import a_file, forge, lines_of, set_accuracy

from plastibench.analysis.stats.estimate import prediction_interval
from plastibench.runner.callbacks import RunCallback
from plastibench.runner.workspace import Workspace
from plastibench.store import verifications
from plastibench.store.record import Record
from plastibench.store.records_file import read_records
from plastibench.store.run_store import Store
from plastibench.workflows.verify import VerifyRequest
from plastibench.workflows.verify import verify as verify_runs
from plastibench.workflows.verify_sample import Draw

pytestmark = pytest.mark.heavy

SEEDS = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert small_run(folder / "home", "--method", "warm,cold", "--seeds", SEEDS).status == 0
    return a_file(folder / "board.jsonl.xz", Store(folder / "home").records())


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / whole.name))


def verify(path: Path, *words: object) -> CommandResult:
    return command("verify", "--records", path, "--home", path.with_name("none"), *words)


def last_run(path: Path) -> str:
    return str(lines_of(path)[-1]["id"])


def test_a_sample_is_repeated_to_the_bit_and_marked(path: Path) -> None:
    before = path.read_bytes()
    assert "verified" not in command("table", "--records", path).out
    answer = verify(path, "--sample", 2, "--seed", 1, "--mark")
    assert answer.status == 0, answer.err
    assert answer.out.count("all numbers of 2 stages are equal") == 2
    assert {"warm", "cold"} <= set(answer.out.split())  # a run of each method before a second of one
    assert path.read_bytes() == before
    table = command("table", "--records", path, "--format", "md").out
    assert table.count("| 1 of 3 re-run to the bit |") == 2
    assert re.search(
        r"re-run to the bit on 20\d\d-\d\d-\d\d \(.*; torch .*\): cold seed \d, warm seed \d", table
    )
    # A mark is that of a content: a changed record has lost it, and nobody has repeated the others.
    marks = json.loads(path.with_name("verified.json").read_text())
    path.with_name("verified.json").write_text(json.dumps(dict(list(marks.items())[:1])))
    assert command("table", "--records", path, "--format", "md").out.count("| self-reported |") == 1


def test_what_was_repeated_before_an_interruption_is_marked(path: Path) -> None:
    class Interrupted(RunCallback):
        ended = 0

        def on_run_end(self, record: Record) -> None:
            self.ended += 1
            if self.ended == 2:
                raise KeyboardInterrupt

    request = VerifyRequest(
        workspace=Workspace(home=path.with_name("none")), records=[path], sample=Draw(3), mark=True
    )
    with pytest.raises(KeyboardInterrupt):
        verify_runs(request, [Interrupted()])
    assert [mark.verdict for mark in verifications.load(path.parent).values()] == ["equal"]


def test_the_same_seed_draws_the_same_sample(path: Path) -> None:
    drawn = [
        sorted(re.findall(r"\b[0-9a-f]{16}\b", verify(path, "--sample", 1, "--seed", 4).out)) for _ in "ab"
    ]
    assert drawn[0] == drawn[1] != []


def test_a_forged_row_is_refused_with_its_first_difference(path: Path) -> None:
    forge(path, lambda run: set_accuracy(run["stages"][1], 0.9))
    answer = verify(path, last_run(path), "--mark")
    assert answer.status == 1
    assert re.search(
        r"2 numbers differ; the first: stage 2, test_accuracy: 0\.[89]\d* in the record, 0\.", answer.out
    )
    assert "| 1 of 3 not reproduced |" in command("table", "--records", path, "--format", "md").out


@pytest.mark.parametrize(("others", "status", "where"), [(None, 0, "within"), (1.0, 1, "outside")])
def test_elsewhere_the_spread_of_the_other_seeds_decides(
    path: Path, others: float | None, status: int, where: str
) -> None:
    def move(run: dict[str, Any]) -> None:
        for stage in run["stages"]:
            set_accuracy(stage, others or 0)

    def move_elsewhere(run: dict[str, Any]) -> None:
        run["provenance"]["torch"] = "2.99"
        run["stages"][0]["train_loss"] += 1e-9

    for place in (-2, -3) if others is not None else ():
        forge(path, move, place=place)
    forge(path, move_elsewhere)
    answer = verify(path, last_run(path))
    assert answer.status == status, answer.err
    assert "equal bits are not promised: torch 2.99 and" in answer.out
    assert f"is {where} the 95 % prediction interval of 2 other seeds [" in answer.out


def test_made_up_seeds_that_lie_far_apart_make_no_room(path: Path) -> None:
    for place, share in ((-3, 0.05), (-2, 0.95), (-1, 0.5)):
        forge(path, partial(_elsewhere, share=share), place=place)
    answer = verify(path, last_run(path))
    assert (answer.status, "is outside the 95 % prediction interval of 2 other" in answer.out) == (1, True)
    alone = a_file(path, [run for run in read_records(path).runs if run.spec.method.name == "warm"])
    # Without another method nothing tells how far seeds may be apart, but no accuracy is outside 0 to 100.
    answer = verify(alone, last_run(alone))
    assert "is within the 95 % prediction interval of 2 other seeds [0.00, 100.00]" in answer.out


def _elsewhere(run: dict[str, Any], share: float) -> None:
    run["provenance"]["torch"] = "2.99"
    for stage in run["stages"]:
        set_accuracy(stage, share)


def test_on_other_data_a_run_is_repeated_if_that_is_asked_for(path: Path) -> None:
    def move(run: dict[str, Any]) -> None:
        run["provenance"]["data"] = "0123456789abcdef"
        for stage in run["stages"]:
            stage["data"] = "0123456789abcdef"

    for place in (-1, -2, -3):
        forge(path, move, place=place)
    refused = verify(path, last_run(path))
    assert (refused.status, "not repeated, it was made on data 0123456789ab, but" in refused.out) == (1, True)
    assert "--other-data runs it on these" in refused.out
    answer = verify(path, last_run(path), "--other-data")
    assert answer.status == 0, answer.err
    assert "made elsewhere, equal bits are not promised: data 0123456789ab and " in answer.out
    assert "the last weights are equal: the training was repeated to the bit" in answer.out
    assert "is within the 95 % prediction interval of 2 other seeds [" in answer.out


def test_a_run_of_another_protocol_is_refused(path: Path) -> None:
    record = read_records(path).runs[-1]
    other = replace(record, spec=replace(record.spec, protocol=99))
    answer = verify(a_file(path.with_name("old"), [other]), other.id)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert (
        f"run {other.id} (digits small_resnet warm seed 2) was made with version 99 of the prot" in answer.err
    )


def test_source_of_a_stranger_is_executed_only_if_that_is_asked_for(tmp_path: Path) -> None:
    note = tmp_path / "executed"
    body = f"def before_stage(self, learner): __import__('pathlib').Path({str(note)!r}).touch()"
    file = plugin(tmp_path, "theirs", body)
    home, path = tmp_path / "home", tmp_path / "theirs.jsonl.xz"
    assert small_run(home, "--plugin", file, "--method", "theirs").status == 0
    (record,) = Store(home).records()
    (theirs,) = Store(home).kept_plugins(record.id)
    a_file(path, [record], plugins={("method", "theirs", record.spec.method.code): theirs})
    note.unlink()
    for words in (["--sample", 1], [record.id]):
        refused = verify(path, *words)
        assert refused.status == 2
        assert f"that {path} holds: read it (`xz -dc {path}`), then add --run-plugins" in refused.err
    assert not note.exists()
    assert verify(path, record.id, "--run-plugins").status == 0
    assert note.exists()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "name the runs to repeat, or give --sample N"),
        (["abc", "--sample", "2"], "one of the two"),
        (["zzz"], "no finished run named 'zzz'"),
    ],
)
def test_what_cannot_be_repeated_is_said_in_one_line(path: Path, words: list[str], expected: str) -> None:
    answer = verify(path, *words)
    assert (answer.status, len(answer.lines())) == (2, 1)
    assert expected in answer.err


def test_marks_need_a_file_and_damaged_ones_are_refused(path: Path) -> None:
    refused = command("verify", "--home", path.parent, "--sample", 1, "--mark")
    assert (refused.status, "--mark writes beside a records file" in refused.err) == (2, True)
    path.with_name("verified.json").write_text('{"a": {"verdict": "fine"}}')
    damaged = command("table", "--records", path)
    assert (damaged.status, len(damaged.lines())) == (2, 1)
    assert "verified.json is damaged" in damaged.err


def test_the_prediction_interval_is_wider_than_that_of_the_mean(path: Path) -> None:
    # R: x <- c(1, 2, 4); mean(x) + c(-1, 1) * qt(.975, 2) * sd(x) * sqrt(1 + 1/3)
    assert prediction_interval([1.0, 2.0, 4.0]) == pytest.approx((-5.255833, 9.922499), abs=1e-5)
    assert len(read_records(path).runs) == 2 * SEEDS
