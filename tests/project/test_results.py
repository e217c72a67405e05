"""The published tables are what the published records give."""

from __future__ import annotations

import json
import pickle
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.commands import command

from plastibench.experiments import suites
from plastibench.experiments.spec import Spec
from plastibench.plugins.registry import Registry
from plastibench.store.records_file import read_records

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
        # A submission may have added rows that no suite of ours makes.
        made = {_identity(record.spec) for record in read_records(records).runs}
        assert {_identity(spec) for spec in specs} <= made


def _identity(spec: Spec) -> str:
    """Return what a run is, without the code of its plug-ins, which goes on after it."""
    without_code = [(kind, part.name, part.settings) for kind, part in spec.all_parts()]
    return json.dumps([without_code, spec.recipe, spec.seed, spec.device], sort_keys=True)
