"""The published tables are what the published records give."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from support.commands import command

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
FILES = sorted((RESULTS / "records").glob("*.jsonl.xz"))
MAX_BYTES = 5e6
"""Of all records together."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
def test_tables_in_results_are_made_from_the_records(path: Path, tmp_path: Path) -> None:
    for format in ("md", "csv"):
        made = command("table", "--records", path, "--format", format, "--home", tmp_path)
        assert made.status == 0, made.err
        published = RESULTS / f"{path.name.removesuffix('.jsonl.xz')}.{format}"
        assert made.out == published.read_text(encoding="utf-8"), f"run `make results`: {published} is old"


def test_all_records_are_small() -> None:
    assert FILES
    assert sum(path.stat().st_size for path in FILES) < MAX_BYTES


def test_public_checks_run_what_can_be_run_locally() -> None:
    for path in sorted((ROOT / ".github" / "workflows").glob("submission*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        for job in workflow["jobs"].values():
            for script in filter(None, (step.get("run") for step in job["steps"])):
                subprocess.run(["bash", "-n"], input=script, text=True, check=True)
                targets = set(re.findall(r"\bmake ([a-z-]+)", script))
                assert targets <= set(
                    re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
                )
