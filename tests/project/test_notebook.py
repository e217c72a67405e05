"""The example notebook can be executed, and its outputs are those of its cells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples/notebook.ipynb"


def published() -> Any:
    read: Any = nbformat.read
    return read(NOTEBOOK, nbformat.NO_CONVERT)


def cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_published_as_it_was_executed() -> None:
    notebook = published()
    nbformat.validate(notebook)
    assert [cell.execution_count for cell in cells(notebook)] == [*range(1, len(cells(notebook)) + 1)]
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert text.count('"image/png"') == 1
    assert not re.search(r"Traceback|/(home|root|tmp)/|Error", text)


@pytest.mark.heavy
@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    from nbclient import NotebookClient

    notebook = published()
    sizes = "STAGES, SEEDS = 5, 3"
    assert sizes in cells(notebook)[0].source
    cells(notebook)[0].source = cells(notebook)[0].source.replace(sizes, "STAGES, SEEDS = 2, 1")
    for cell in cells(notebook):
        cell.source = cell.source.replace('"stages": STAGES', '"stages": STAGES, "max_epochs": 1, "width": 4')
        cell.source = cell.source.replace("check(FadeHead)", 'check("warm", fail_fast=True)')
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in cells(notebook) for output in cell.outputs]
    pages = [output.data["text/html"] for output in shown if "text/html" in output.get("data", {})]
    assert any("<td>fade_head</td>" in page for page in pages)
    assert any("3/3 runs" in page for page in pages)
    assert (tmp_path / "report.html").exists()
    assert list((tmp_path / "notebook-home").rglob("plugins.zip"))
