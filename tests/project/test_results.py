"""The published tables are what the published records give."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import command

RESULTS = Path(__file__).parents[2] / "results"
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
