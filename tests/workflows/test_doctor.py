"""The doctor reports what this machine has, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from support.commands import command


def test_doctor_prints_versions_devices_and_folders(tmp_path: Path) -> None:
    (tmp_path / "data" / "svhn").mkdir(parents=True)
    answer = command("doctor", "--home", tmp_path / "home", "--data", tmp_path / "data")
    facts = {line[:14].strip(): line[15:] for line in answer.out.splitlines()}
    assert answer.status == 0
    assert facts["torch"] == torch.__version__.partition("+")[0]
    assert facts["chosen"].startswith("cpu")
    assert facts["data"] == f"{tmp_path / 'data'} (holds svhn)"
    assert "can be written" in facts["home"]
    assert "GiB free" in facts["home"]
    assert {"cpu", "cuda", "hpu", "mlflow"} <= facts.keys()


def test_doctor_leaves_no_trace(tmp_path: Path) -> None:
    command("doctor", "--home", tmp_path / "a" / "b", "--data", tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_doctor_reports_problems_and_continues(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file" / "x", Path("/proc/x")):
        answer = command("doctor", "--home", home, "--data", tmp_path / "no")
        assert answer.status == 0
        assert "cannot be written" in answer.out
        assert "missing" in answer.out


def test_doctor_of_a_device_that_is_not_here_says_what_it_would_show(tmp_path: Path) -> None:
    if not hasattr(torch, "hpu"):
        answer = command("doctor", "--device", "hpu", "--home", tmp_path, "--data", tmp_path)
        assert answer.status == 2
        facts = {line[:14].strip(): line[15:] for line in answer.out.splitlines()}
        assert "chosen" in facts
        assert "losses of 20 steps of a small residual network" in facts["not measured"]
        [problem] = answer.lines()
        assert problem.startswith("plastibench: device 'hpu' cannot be used: torch sees no Gaudi card")
        answer = command("doctor", "--device", "hpu", "--home", tmp_path, "--data", tmp_path, "--json")
        assert answer.status == 2
        assert "operators that fall back" in json.loads(answer.out)["machine"]["not measured"]
