"""The source of a plug-in is kept with each run: its rows outlive its file, and only `resume`, `verify` and
`run --tuned` execute it."""

from __future__ import annotations

import html
import json
import shlex
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.commands import CommandResult, command, small_run
from support.plugins import HELPER, mine, write
from support.tuning import NAME, small_tune

from plastibench.store.record import Record
from plastibench.store.run_store import Store

HOOK = """
    factor: float = tune(0.5, 0.1, 0.9)

    def before_stage(self, learner):
        from helper import factor
        if Path(ROOT, "wait").exists():
            raise KeyboardInterrupt
        for weight in learner.model.parameters():
            weight.mul_(self.factor * factor())
"""


@dataclass
class Lab:
    """A folder with a plug-in and its helper, which notes every import, and a home folder."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / "home"

    def write(self, factor: int = 2) -> Path:
        note = f"with Path({str(self.root)!r}, 'imported').open('a') as file:\n    file.write('x')\n"
        head = (
            f"from pathlib import Path\nfrom plastibench.api import tune\nROOT = {str(self.root)!r}\n{note}"
        )
        write(
            self.root / "lab",
            mine=mine(head).replace("0000.00000", "2401.01234") + HOOK,
            helper=HELPER.replace("2", str(factor)),
        )
        return self.root / "lab" / "mine.py"

    def run(self, *words: object) -> CommandResult:
        return small_run(self.home, "--method", "mine", "--plugin", self.write(), *words)

    def records(self, home: str = "home") -> list[Record]:
        return list(Store(self.root / home).records())

    def imports(self) -> int:
        return len((self.root / "imported").read_text())


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def stop(lab: Lab, *words: object) -> Record:
    """Stop a run at its second stage; return its record of another home, where it was not stopped."""
    assert small_run(lab.root / "whole", "--method", "mine", "--plugin", lab.write()).status == 0
    (lab.root / "wait").touch()
    assert lab.run(*words).status == 130
    (lab.root / "wait").unlink()
    (whole,) = lab.records("whole")
    return whole


def equal(a: Record, b: Record) -> bool:
    return (a.id, a.provenance["weights"]) == (b.id, b.provenance["weights"])


@pytest.mark.heavy
def test_runs_are_resumed_without_the_file_even_if_they_had_not_begun(lab: Lab) -> None:
    whole = stop(lab, "--seeds", 2)
    shutil.rmtree(lab.root / "lab")
    answer = command("resume", "--no-mlflow", "--home", lab.home)
    assert answer.status == 0, answer.err
    assert answer.err.count(f"method mine: executing the source kept in {lab.home / 'runs'}") == 1
    assert [record.spec.seed for record in lab.records() if equal(record, whole)] == [0]
    assert len(lab.records()) == 2


@pytest.mark.heavy
def test_a_run_is_resumed_with_the_source_it_was_started_with(lab: Lab) -> None:
    whole = stop(lab)
    file = lab.write(factor=3)
    answer = command("resume", "--no-mlflow", "--home", lab.home, "--plugin", file)
    assert answer.status == 0, answer.err
    assert f"; {file} has changed since run {whole.id} was started" in answer.err
    assert equal(lab.records()[0], whole)


@pytest.mark.heavy
def test_runs_of_both_versions_are_resumed_in_worker_processes(lab: Lab) -> None:
    whole = stop(lab)
    (lab.root / "wait").touch()
    file = lab.write(factor=3)
    assert small_run(lab.home, "--method", "mine", "--plugin", file).status == 130
    (lab.root / "wait").unlink()
    answer = command("resume", "--no-mlflow", "--home", lab.home, "--plugin", file, "--jobs", 2)
    assert answer.status == 0, answer.err
    assert len({record.provenance["weights"] for record in lab.records()}) == 2
    assert any(equal(record, whole) for record in lab.records())


@pytest.mark.heavy
def test_a_row_outlives_its_file_and_reading_it_executes_nothing(lab: Lab) -> None:
    assert lab.run().status == 0
    shutil.rmtree(lab.root / "lab")
    merged, imports = lab.root / "merged", lab.imports()
    commands: list[list[object]] = [
        ["merge", lab.home, "--home", merged],
        ["table", "--home", merged],
        ["status", "--home", merged],
        ["report", "--home", merged, "--out", lab.root / "page.html"],
        ["compare", lab.home, merged],
    ]
    for words in commands:
        answer = command(*words)
        assert answer.status == 0, (words, answer.err)
    assert lab.imports() == imports
    assert "eprint        = {2401.01234}" in (lab.root / "page.html").read_text()
    (record,) = lab.records("merged")
    answer = command("verify", record.id[:6], "--home", merged)
    assert answer.status == 0, answer.err
    assert "all numbers of 2 stages are equal" in answer.out


def test_runs_are_named_without_the_file(lab: Lab) -> None:
    assert lab.run("--method", "warm,mine").status == 0
    shutil.rmtree(lab.root / "lab")
    imports = lab.imports()
    words = ["--task", "digits", "--method", "mine", "--home", lab.home, "--seeds", 1, "--set", "stages=2"]
    answer = command("table", *words, "--format", "csv", "--set", "mine.factor=0.5")
    assert "method mine: neither installed nor given with --plugin" in answer.err
    assert '",mine,1,0,' in answer.out
    assert ",warm," not in answer.out
    assert "done" in command("status", *words).out
    for other in (["--set", "mine.factor=0.6"], ["--set", "stages=3"], ["--seeds", "5-6"]):
        answer = command("table", *words, *other)
        assert answer.status == 2
        assert "no method named 'mine'" in answer.err
    assert lab.imports() == imports


def test_merge_brings_the_source_to_a_run_that_lacks_it(lab: Lab) -> None:
    assert lab.run().status == 0
    merged = lab.root / "merged"
    assert command("merge", lab.home, "--home", merged).status == 0
    (path,) = merged.rglob("plugins.zip")
    before = path.read_bytes()
    path.unlink()
    assert command("merge", lab.home, "--home", merged).status == 0
    assert path.read_bytes() == before


def rewrite(path: Path, member: str, content: str) -> None:
    """Replace a member of an archive."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, old in members.items():
            archive.writestr(name, content if name == member else old)


@pytest.mark.heavy
def test_the_command_of_a_report_names_the_file_of_a_package(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lab.write().rename(lab.root / "lab" / "__init__.py")
    file.write_text(file.read_text().replace("from helper", "from .helper"))
    made = small_run(lab.home, "--method", "lab", "--plugin", file)
    assert made.status == 0, made.err
    (lab.root / "lab").rename(lab.root / "gone")
    page = lab.root / "page.html"
    assert command("report", "--home", lab.home, "--out", page).status == 0
    (line,) = (line for line in html.unescape(page.read_text()).splitlines() if "plastibench run" in line)
    (lab.root / "gone").rename(lab.root / "lab")
    monkeypatch.chdir(lab.root)
    _, verb, *words = shlex.split(line.partition("<code>")[2].partition("</code>")[0])
    again = command(verb, "--no-mlflow", "--home", lab.home, *words)
    assert "the run is finished already" in again.err, (line, again.err)


def test_merge_copies_the_source_of_the_run_and_no_other(lab: Lab) -> None:
    assert lab.run().status == 0
    copy, merged = lab.root / "copy", lab.root / "merged"
    shutil.copytree(lab.home, copy)
    (changed,) = copy.rglob("plugins.zip")
    rewrite(changed, "method/mine/helper.py", HELPER.replace("2", "3"))
    answer = command("merge", copy, "--home", merged)
    assert f"the kept source {changed} is damaged or was changed: left out" in answer.err
    assert list(merged.rglob("plugins.zip")) == []
    assert command("merge", copy, lab.home, "--home", merged).status == 0
    (path,), (original,) = merged.rglob("plugins.zip"), lab.home.rglob("plugins.zip")
    assert path.read_bytes() == original.read_bytes()
    path.write_bytes(changed.read_bytes())
    assert command("merge", lab.home, "--home", merged).status == 0
    assert path.read_bytes() == original.read_bytes()


def test_kept_source_that_was_changed_is_refused_and_not_executed(lab: Lab) -> None:
    assert lab.run().status == 0
    shutil.rmtree(lab.root / "lab")
    (path,), (record,), imports = lab.home.rglob("plugins.zip"), lab.records(), lab.imports()
    rewrite(path, "method/mine/helper.py", f"open({str(lab.root / 'imported')!r}, 'w')\n{HELPER}")
    answer = command("verify", record.id, "--home", lab.home)
    assert answer.status == 2
    assert f"the source of method mine in {path} was changed after it was kept" in answer.err
    path.write_bytes(path.read_bytes()[:100])
    answer = command("verify", record.id, "--home", lab.home)
    assert answer.status == 2
    assert f"the kept source {path} is damaged" in answer.err
    path.unlink()
    answer = command("verify", record.id, "--home", lab.home)
    assert answer.status == 2
    assert f"run {record.id} keeps no source of method mine: pass its file with --plugin" in answer.err
    assert lab.imports() == imports


@pytest.mark.heavy
def test_tuned_settings_are_run_without_the_file(lab: Lab) -> None:
    words = ["--method", "mine", "--plugin", lab.write(), "--trials", 1]
    assert small_tune(lab.home, *words).status == 0
    shutil.rmtree(lab.root / "lab")
    tuned = ["run", "--no-mlflow", "--home", lab.home, "--tuned", NAME, "--seeds", 1]
    answer = command(*tuned)
    assert answer.status == 0, answer.err
    assert "method mine: executing the source kept in" in answer.err
    answer = command(*tuned, "--plugin", lab.write(factor=3))
    assert f"method mine has changed since tuning {NAME}" in answer.err
    shutil.rmtree(lab.root / "lab")
    (path,) = lab.home.glob("tuned/*.zip")
    rewrite(path, "method/mine/helper.py", HELPER.replace("2", "4"))
    answer = command(*tuned)
    assert answer.status == 2
    assert "was changed after it was kept" in answer.err


def test_shipped_code_is_not_kept(lab: Lab) -> None:
    assert small_run(lab.home, "--method", "warm").status == 0
    assert list(lab.home.rglob("plugins.zip")) == []
    assert lab.run("--model", "small_resnet").status == 0
    (path,) = lab.home.rglob("plugins.zip")
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read("plugins.json")) == [
            {"kind": "method", "name": "mine", "module": "mine", "attribute": ""}
        ]
        assert sorted(archive.namelist()) == [
            "method/mine/helper.py",
            "method/mine/mine.py",
            "plugins.json",
        ]
