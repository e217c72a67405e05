"""Files that plug-ins read belong to the record of a run: with other contents nothing is mixed."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from support.commands import CommandResult, command, small_run

from plastibench.store.run_store import Store

READS = '''"""A method of a test, which reads a file."""
import json
from dataclasses import dataclass
from pathlib import Path

from plastibench.api import Learner, Method, parameters_in
{imports}

@dataclass(kw_only=True)
class Mine(Method):
    """Multiply all weights by a number in a file (arXiv 0000.00000)."""

    def before_stage(self, learner: Learner) -> None:
        """Shrink."""
        for weight in parameters_in(learner.model, "all"):
            weight.mul_({factor})
'''
WHEN = {
    "in a hook": ("", "float(json.loads(Path(r'{file}').read_text()))"),
    "when it is imported": ("FACTOR = json.loads(Path(r'{file}').read_text())", "FACTOR"),
    "in a helper": ("import helper", "helper.factor()"),
    "by a library": ("import numpy", "float(numpy.loadtxt(r'{file}'))"),
}
HELPER = "from pathlib import Path\ndef factor():\n    return float(Path(r'{file}').read_bytes())\n"
STUMBLE = """
    def after_stage(self, learner: Learner) -> None:
        if not Path(r'{mark}').exists():
            raise ValueError
"""


def reader(folder: Path, when: str) -> tuple[Path, Path]:
    """Write a plug-in and the file that it reads; return both paths."""
    folder.mkdir(exist_ok=True)
    file, path = folder / "factor.json", folder / "mine.py"
    file.write_text("0.5")
    imports, factor = (text.format(file=file) for text in WHEN[when])
    (folder / "helper.py").write_text(HELPER.format(file=file))
    path.write_text(READS.format(imports=imports, factor=factor))
    return path, file


def run(home: Path, path: Path, *words: object) -> CommandResult:
    return small_run(home, "--task", "digits", "--plugin", path, "--method", "mine", *words)


@pytest.mark.parametrize("when", WHEN)
def test_a_finished_run_names_the_file_and_refuses_another_content(when: str, tmp_path: Path) -> None:
    path, file = reader(tmp_path / "plugin", when)
    home = tmp_path / "home"
    assert run(home, path).status == 0
    (record,) = Store(home).records()
    assert list(record.files) == [str(file)]
    again = run(home, path)
    assert (again.status, "finished already" in again.err) == (0, True)
    file.write_text(file.read_text().replace("5", "25"))
    for words in (("--seeds", 1), ("--seeds", 2)):
        refused = run(home, path, *words)
        assert refused.status == 2
        assert f"mine seed 0) was made with {file} of SHA-256" in refused.lines()[-1]
    verified = command("verify", record.id, "--home", home)
    assert verified.status == 1
    assert "factor.json" in verified.out + verified.err


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="there is no folder in memory")
def test_a_file_in_memory_is_one_of_data_and_a_device_is_none() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path, file = reader(Path(folder), "in a hook")
        path.write_text(
            path.read_text() + "\nwith open('/dev/urandom', 'rb') as source:\n    source.read(1)\n"
        )
        assert run(Path(folder) / "home", path).status == 0
        (record,) = Store(Path(folder) / "home").records()
        assert list(record.files) == [str(file)]


@pytest.mark.heavy
def test_runs_with_two_contents_are_not_averaged(tmp_path: Path) -> None:
    path, file = reader(tmp_path / "plugin", "in a hook")
    one, two, both = (tmp_path / name for name in ("one", "two", "both"))
    assert run(one, path, "--method", "warm,mine").status == 0
    file.write_text("0.25")
    assert run(two, path, "--seeds", "1-1").status == 0
    assert command("merge", one, two, "--home", both).status == 0
    (table,) = json.loads(command("table", "--home", both, "--format", "json").out)["tables"]
    labels = [row["method"] for row in table["rows"]]
    assert [label.partition("[")[0] for label in labels] == ["mine", "mine", "warm"]
    assert all("factor.json=" in label for label in labels[:2])


def test_a_stopped_run_does_not_go_on_with_another_content(tmp_path: Path) -> None:
    path, file = reader(tmp_path / "plugin", "in a hook")
    mark, home = tmp_path / "mark", tmp_path / "home"
    path.write_text(path.read_text().replace("before_stage", "start") + STUMBLE.format(mark=mark))
    words = ("--checkpoint-interval", 0)
    assert run(home, path, *words).status == 1
    mark.touch()
    file.write_text("0.25")
    refused = run(home, path, *words)
    assert refused.status == 2
    assert f"was stopped with {file}" in refused.lines()[-1]
    file.write_text("0.5")
    assert run(home, path, *words).status == 0


def test_what_a_task_reads_is_data_and_other_files_are_none(tmp_path: Path) -> None:
    path, file = reader(tmp_path / "plugin", "in a hook")
    source = path.read_text().replace(f"float(json.loads(Path(r'{file}').read_text()))", "written()")
    path.write_text(
        source.replace(
            "\n\n@dataclass",
            f"\n\ndef written():\n    Path(r'{tmp_path / 'log'}').write_text('1')\n    import this\n"
            f"    Path('/proc/self/stat').read_text()\n    return 0.5\n\n\n@dataclass",
            1,
        )
    )
    assert run(tmp_path / "home", path).status == 0
    (record,) = Store(tmp_path / "home").records()
    assert dict(record.files) == {}
