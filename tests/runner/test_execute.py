"""Data are looked for once, before any run."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import command


def test_missing_data_end_the_command_before_any_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("NO_PROXY", "")
    words = ["run", "--task", "cifar10", "--method", "cold,warm", "--home", str(tmp_path / "home")]
    answer = command(*words, "--data", tmp_path / "data")
    assert answer.status == 2
    said = [line for line in answer.lines() if line.startswith("plastibench: ")]
    assert len(said) == 1
    assert f"cifar-10-python.tar.gz is not in {tmp_path / 'data'}" in said[0]
    assert list((tmp_path / "home" / "runs").iterdir()) == []
