"""The doctor says what there is, and changes nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from support.commands import command


def test_doctor_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "data" / "svhn").mkdir(parents=True)
    answer = command("doctor", "--home", tmp_path / "home", "--data", tmp_path / "data")
    said = {line[:14].strip(): line[15:] for line in answer.out.splitlines()}
    assert answer.status == 0
    assert said["torch"] == torch.__version__.partition("+")[0]
    assert said["chosen"].startswith("cpu")
    assert said["data"] == f"{tmp_path / 'data'} (holds svhn)"
    assert "can be written" in said["home"]
    assert "GiB free" in said["home"]
    assert {"cpu", "cuda", "hpu", "mlflow"} <= said.keys()


def test_doctor_leaves_no_trace(tmp_path: Path) -> None:
    command("doctor", "--home", tmp_path / "a" / "b", "--data", tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_what_is_wrong_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file" / "x", Path("/proc/x")):
        answer = command("doctor", "--home", home, "--data", tmp_path / "no")
        assert answer.status == 0
        assert "cannot be written" in answer.out
        assert "missing" in answer.out
