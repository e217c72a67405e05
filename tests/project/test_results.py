"""The published tables are what the published records give."""

from __future__ import annotations

import importlib
import json
import math
import pickle
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import command
from support.recorded import a_file
from support.reports import a_run, some_runs

from plastibench.analysis.stats.estimate import Estimate
from plastibench.analysis.tables.table import build_tables
from plastibench.experiments import suites
from plastibench.experiments.spec import Part, Spec
from plastibench.plugins.registry import Registry
from plastibench.store.record import Record
from plastibench.store.records_file import read_records
from plastibench.store.tuned_settings import TunedSettings

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


def test_the_page_on_gpus_is_made_from_the_measurements() -> None:
    script = ROOT / "benchmarks" / "gpu_table.py"
    files = sorted((RESULTS / "gpu").glob("*.jsonl"))
    made = subprocess.run(
        [sys.executable, str(script), *map(str, files)], capture_output=True, text=True, check=True
    )
    assert made.stdout == (RESULTS / "gpu.md").read_text(encoding="utf-8"), "run `make results`"


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


@pytest.fixture(scope="module")
def docs() -> Iterator[Mapping[str, ModuleType]]:
    """Return the scripts that write prose from records."""
    sys.path.insert(0, str(ROOT / "docs"))
    yield {
        name: importlib.import_module(name)
        for name in ("across_boards", "boards", "board_rows", "claims", "table1")
    }
    sys.path.remove(str(ROOT / "docs"))


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("script", "page"),
    [("boards", "results/README.md"), ("claims", "docs/claims.md"), ("table1", "docs/table1.md")],
)
def test_prose_with_numbers_is_made_from_the_records(
    docs: Mapping[str, ModuleType], script: str, page: str
) -> None:
    assert docs[script].page() == (ROOT / page).read_text(encoding="utf-8"), "run `make results`"


def test_the_table_of_all_boards_has_the_gains_of_each(docs: Mapping[str, ModuleType]) -> None:
    text = docs["across_boards"].gains_table(["quickstart", "table1-cifar10", "no-board"])
    head, _, *lines = [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in text.splitlines()
    ]
    assert head == ["method", "quickstart", "table1-cifar10"]
    found = {line[0]: line[1:] for line in lines}
    for column, board in enumerate(head[1:]):
        for row in docs["board_rows"].board_tables(board)[0].rows:
            if row.method == "warm":
                assert row.method not in found
                continue
            starred = row.gain.n > 1 and row.gain.low * row.gain.high > 0
            assert found[row.method][column] == f"{row.gain.mean:+.2f}{'*' if starred else ''}"
    first = [float(cells[0].rstrip("*")) for cells in found.values() if cells[0] != "-"]
    assert first == sorted(first, reverse=True)
    assert docs["across_boards"].gains_table(["no-board"]) == ""


def test_the_prose_of_a_board_says_what_its_table_says(docs: Mapping[str, ModuleType]) -> None:
    tables = docs["board_rows"].board_tables("quickstart")
    separated, costs, limits = docs["boards"].board_paragraphs("field-cpu", tables)
    above, _, rest = separated.partition("Below it:")
    assert "7 rows of 3 seeds" in above
    assert "`shrink_perturb` +0.99 [+0.14, +1.84]" in above
    assert "`dash`" not in above
    assert "`shrink_perturb` +1.01 [+0.64, +1.37]" in rest
    assert "corrected for 6 comparisons" in rest
    assert "as a factor of cold start's: warm start 0.36; above it `shrink_perturb` 1.32." in costs
    assert "`dash` +0.74 [-0.55, +2.03]" in costs.partition("Not to be told")[2]
    assert limits == docs["boards"].BOARDS["field-cpu"]["limits"]


def test_a_tuned_board_compares_tuned_rows_with_tuned_references(
    docs: Mapping[str, ModuleType], tmp_path: Path
) -> None:
    runs, tuned = [], {}
    for method, published, better in (("warm", 50, 60), ("cold", 52, 58), ("dash", 55, 61), ("sam", 57, 57)):
        part = docs["board_rows"].settings(method)
        for seed in range(3):
            runs += [_flat_run(part, seed, published + seed / 10), _flat_run(part, seed, better, rate=0.5)]
        kept = published == better
        origin = TunedSettings("s", 8, 3, {} if kept else {"learning_rate": 0.1}, published=kept, passes=2e6)
        tuned[runs[-2 if kept else -1].variant_id] = origin
        runs = runs[:-6] + runs[-6::2] if kept else runs
    path = a_file(tmp_path / "b.jsonl.xz", runs, tuned=tuned)
    tables = command("table", "--records", path)
    assert tables.status == 0, tables.err
    boards, rows = docs["boards"], docs["board_rows"]
    (setting,) = rows.table(rows.Selection(records=(path,))).tables
    _, _, text, limits = boards.board_paragraphs("field-tuned-cpu", [setting])
    assert text.startswith(
        "Each method tuned with 8 trials. Above tuned warm start, with intervals without 0, `dash` +1.00"
    )
    assert "below it `sam` -2.90" in text
    assert "Above tuned cold start, with intervals without 0, `dash` +3.00" in text
    assert "million passes" in text
    assert "times one run of cold start" in text
    assert "`warm` +9.90" in text.partition("Chosen minus published settings: ")[2]
    assert "No trial was better than the published settings of `sam`." in text
    assert "Ranks by average accuracy, tuned and on field-cpu: `dash` 1 and " in text
    assert limits == boards.BOARDS["field-tuned-cpu"]["limits"]
    assert rows.find_row(setting, "warm").method == "warm"
    assert {rows.short_name(row) for row in setting.rows} == {row.method for row in setting.rows}
    assert boards.tuned_text(rows.board_tables("quickstart")[0], rows.short_name, None) == ""


def _flat_run(method: Part, seed: int, accuracy: float, rate: float = 0.1) -> Record:
    """Return a run with the same accuracy after each stage, in percent."""
    run = a_run(method.name, seed, learning_rate=rate)
    stages = [{**stage, "test_accuracy": accuracy / 100} for stage in run.stages]
    return replace(run, spec=replace(run.spec, method=method), stages=stages)


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (1, "3 rows of 1 seed, 1 minute of one core. One seed has no intervals."),
        (
            3,
            "With 3 seeds no difference can be significant once it is corrected for 2 comparisons: the "
            "smallest p-value is 0.25.",
        ),
        (10, "Significant once corrected for 2 comparisons: from warm start `cold` and `dash`; from"),
    ],
)
def test_the_prose_says_what_so_many_seeds_can_decide(
    docs: Mapping[str, ModuleType], seeds: int, expected: str
) -> None:
    tables = build_tables(some_runs(seeds, ("warm", "cold", "dash")), "warm", "cold")
    assert expected in next(docs["boards"].board_paragraphs("field-cpu", tables))


@pytest.mark.parametrize(
    ("claim", "low", "high", "verdict"),
    [
        ("above", 0.1, 2.0, "holds"),
        ("above", -0.1, 2.0, "open"),
        ("above", -2.0, -0.1, "does not hold"),
        ("below", -2.0, -0.1, "holds"),
        ("below", 0.1, 2.0, "does not hold"),
        ("no gain", -2.0, 0.4, "holds"),
        ("no gain", -2.0, 0.6, "open"),
        ("no gain", 0.1, 0.6, "does not hold"),
        ("above", math.nan, math.nan, "open"),
    ],
)
def test_a_claim_is_judged_by_the_interval(
    docs: Mapping[str, ModuleType], claim: str, low: float, high: float, verdict: str
) -> None:
    difference, nothing = Estimate(3, 0.0, 1.0, low, high), Estimate(3, 1.0, 1.0, 0.0, 2.0)
    assert docs["claims"].Outcome(difference, nothing, nothing).verdict(claim) == verdict


@pytest.mark.parametrize(
    ("claim", "low", "high", "verdict"),
    [
        ("fewer steps", 0.4, 0.9, "holds"),
        ("fewer steps", 1.1, 1.9, "does not hold"),
        ("more steps", 1.1, 1.9, "holds"),
        ("more steps", 0.4, 1.9, "open"),
    ],
)
def test_a_claim_about_steps_is_judged_by_their_ratio(
    docs: Mapping[str, ModuleType], claim: str, low: float, high: float, verdict: str
) -> None:
    ratio, nothing = Estimate(3, 1.0, 1.0, low, high), Estimate(3, 0.0, 1.0, -1.0, 1.0)
    assert docs["claims"].Outcome(nothing, nothing, ratio).verdict(claim) == verdict


def test_the_folders_of_images_hold_what_the_files_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, pixels = tmp_path / "cifar-10-batches-py", np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    source.mkdir()
    (source / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}))
    for file in ("data_batch_1", "test_batch"):
        (source / file).write_bytes(pickle.dumps({b"data": pixels, b"labels": [1, 0]}))
    monkeypatch.setattr(sys, "argv", ["image_folders.py", "--data", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / "image_folders.py"), run_name="__main__")
    assert ended.value.code == 1, "there is no Tiny-ImageNet"
    with Image.open(tmp_path / "cifar10-images/train/dog/data_batch_1-00000.png") as image:
        assert np.array_equal(np.asarray(image).transpose(2, 0, 1).ravel(), pixels[0])
    assert (tmp_path / "cifar10-images/test/cat/test_batch-00001.png").is_file()


@pytest.mark.parametrize("path", sorted((RESULTS / "suites").glob("*.toml")), ids=lambda path: path.stem)
def test_a_suite_of_the_boards_makes_the_runs_that_are_in_its_records(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("cifar10-images", "tiny-imagenet-images"):
        for name in ("cat", "dog"):
            (tmp_path / folder / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    registry = Registry()
    grids = [(grid.tuned is None, grid.specs(registry)) for grid in suites.load(str(path)).grids]
    specs = [spec for _, some in grids for spec in some]
    # A tuning may have chosen the published settings, which are then there twice.
    asked = [spec.id for as_published, some in grids for spec in some if as_published]
    assert len(set(asked)) == len(asked) > 0
    records = RESULTS / "records" / f"{path.stem}.jsonl.xz"
    if records.exists():
        made = {_identity(record.spec) for record in read_records(records).runs}
        assert made <= {_identity(spec) for spec in specs}


def _identity(spec: Spec) -> str:
    """Return what a run is, without the code of its plug-ins, which goes on after it."""
    without_code = [(kind, part.name, part.settings) for kind, part in spec.all_parts()]
    return json.dumps([without_code, spec.recipe, spec.seed, spec.device], sort_keys=True)


def test_a_stage_is_compared_with_the_same_stage_of_the_cost_reference(
    docs: Mapping[str, ModuleType],
) -> None:
    (board,) = docs["board_rows"].board_tables("quickstart")
    rows = {row.method: row for row in board.rows}
    text = docs["boards"].stage_table(board, ["once more"], docs["board_rows"].short_name)
    cells = next(line for line in text.splitlines() if line.startswith("| `dash`")).split(" | ")
    gains = [
        run.accuracies[1] - other.accuracies[1]
        for run, other in zip(rows["dash"].metrics, rows["cold"].metrics, strict=True)
    ]
    assert cells[1].startswith(f"{sum(gains) / 3:+.2f} [")
    assert cells[2].startswith("not matched for") == (sum(gains) < 0)
    assert cells[3] == "not measured |"
    assert "`cold`" not in text
