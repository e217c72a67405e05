"""The scripts that run other code: on a program that logs as that code does."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import child, script
from support.reports import a_home, a_run

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parents[2]
PROGRAM = """
import argparse, types, wandb

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
parser.add_argument("--model")
parser.add_argument("--optimizer_type")
parser.add_argument("--train_type", default="warm")
args = parser.parse_args()
assert open("data/here").read() == "yes"
wandb.init(project="x")
wandb.config.update(args, allow_val_change=True)
wandb.run.name = "y"
for stage in range(50):
    accuracy = 0.1 * stage + 0.01 * len(args.train_type) * (stage > 0)
    logs = {"train_metrics/test_acc": accuracy, "train_metrics/num_steps": 8, "train_metrics/num_epochs": 1}
    wandb.log(logs, step=stage + 1)
"""


def checkout(folder: Path) -> list[str]:
    """Write the program and data it looks for; return the options that name them."""
    for name, content in (("code/main.py", PROGRAM), ("data/here", "yes")):
        (folder / name).parent.mkdir()
        (folder / name).write_text(content)
    return ["--reference", str(folder / "code"), "--data", str(folder / "data")]


def reference_rows(tmp_path: Path, *words: str) -> list[dict[str, Any]]:
    """Return what the program logs for seed 7."""
    out = tmp_path / "out.jsonl"
    words = (*checkout(tmp_path), "--out", str(out), "--seed", "7", "--stages", "3", *words)
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/reference_run.py"), *words, "--model", "resnet18"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_one_method_runs_without_a_fork(tmp_path: Path) -> None:
    rows = reference_rows(tmp_path, "--alone", "sp")
    assert [(row["method"], row["stage"]) for row in rows] == [("sp", stage) for stage in range(3)]
    assert [round(row["test_accuracy"], 2) for row in rows] == [0, 0.12, 0.22]


def test_the_first_stage_is_trained_once_and_then_forked(tmp_path: Path) -> None:
    rows = reference_rows(tmp_path, "--methods", "cold,sp")
    assert [(row["method"], row["stage"]) for row in rows] == [
        (m, s) for m in ("cold", "sp") for s in range(3)
    ]
    assert [round(row["test_accuracy"], 2) for row in rows] == [0, 0.14, 0.24, 0, 0.12, 0.22]
    assert {row["seed"] for row in rows} == {7}


def test_the_comparison_reads_what_is_there(tmp_path: Path) -> None:
    rows = [
        {"method": "cold", "seed": seed, "stage": 0, "test_accuracy": 0.3 + 0.01 * seed, "steps": 150 + seed}
        for seed in (1, 2, 3)
    ]
    (tmp_path / "reference.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"cut off')
    words = ["--reference", ".", "--data", ".", "--home", tmp_path, "--only", "table"]
    done = script(ROOT / "benchmarks/vs_reference.py", *words)
    lines = done.out.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:7] == ["all", "1", "acc", "32.00", "+-", "1.00", "(3)"]
    assert "152.00 +- 1.00 (3)" in lines[2]


def test_equivalence_of_two_codes_needs_means_within_the_margin_and_little_scatter() -> None:
    """By hand: three runs each with variance 1: standard error sqrt(2/3), 4 degrees of freedom."""
    from scipy.stats import t

    equivalence = runpy.run_path(str(ROOT / "benchmarks/vs_reference.py"))["equivalence"]
    p = equivalence([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], 0.75)
    assert p == pytest.approx(t.sf((0.75 - 0.5) / (2 / 3) ** 0.5, 4))
    assert equivalence([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], 10.0) < 0.001


GPU = """
import contextlib, io, json, runpy, sys
for name in ("click", "rich", "mlflow", "optuna", "pandas", "matplotlib", "jinja2", "torchvision"):
    sys.modules[name] = None
script, *commands = map(json.loads, sys.argv[1:])
for words in commands:
    sys.argv = [script, *words]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(script, run_name="__main__")
    print(json.dumps(out.getvalue()))
"""


def gpu(*commands: tuple[object, ...]) -> list[str]:
    """Run the script for the GPU rows where few of our dependencies are installed; return what each printed.

    All commands share a process: importing torch takes longer than most of them.
    """
    script = str(ROOT / "benchmarks/gpu.py")
    home = Path(str(commands[0][commands[0].index("--out") + 1])).parent / "home"
    options = ("--device", "cpu", "--quick", "--home", home)
    lists = [[*map(str, (*options, *words))] for words in commands]
    done = child("-c", GPU, json.dumps(script), *map(json.dumps, lists), timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_the_script_for_gpu_rows_runs_on_the_cpu_and_goes_on_where_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out"
    gpu(("--out", out, "--jobs", 1, *checkout(tmp_path)))
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    keys = [row["key"] for row in rows]
    assert not [row for row in rows if "failed" in row]
    assert {"speed/sgd/fp32/eager", "speed/sgd/bf16/eager", "together/processes/2", "clock/0"} <= set(keys)
    assert sum(key.startswith("column/") for key in keys) == 2
    table = (out / "table.md").read_text()
    assert "these are no measurements" in table
    assert "minutes for 2 runs" in table
    (ratio,) = (line for line in table.splitlines() if "against the reference code, bf16" in line)
    assert re.search(r"\| 20x \| \d+\.\dx \(\d+\.\d to \d+\.\d\) \| 1 \|", ratio)
    assert "| cold | sgd | yes | 0 |" in table
    # On the CPU a step is over when it is launched: an interpreter has time for one run, more or less.
    (alone,) = (line for line in table.splitlines() if line.startswith("| sgd | bf16 | eager |"))
    assert 0.2 < float(alone.split("|")[-2]) < 5
    with tarfile.open(out / "runs.tgz") as archive:
        names = [Path(name).name for name in archive.getnames()]
    assert names.count("run.json") == 2
    assert not [name for name in names if name.endswith(".pt")]
    # Nothing is measured twice, and lines of a command on another machine count as well.
    known = tmp_path / "known.jsonl"
    (out / "results.jsonl").rename(known)
    again, late = gpu(("--out", out, "--known", known), ("--out", tmp_path / "late", "--seconds", 1))
    assert not (out / "results.jsonl").exists()
    assert (out / "table.md").read_text() == table
    assert "waits: " not in again
    assert "waits: speed/sgd/bf16/eager: no time left, give the command again" in late
    assert "waits: staged/reference/0: no checkout of the reference code was given" in late


def test_the_reference_row_waits_if_something_is_missing(tmp_path: Path) -> None:
    batches = tmp_path / "data/cifar-10-batches-py"
    batches.mkdir(parents=True)
    for number in range(6):
        (batches / f"data_batch_{number}").touch()
    words = ["--device", "cpu", "--out", tmp_path / "out", "--home", tmp_path / "home", "--rows", "reference"]
    words += ["--data", tmp_path / "data", "--reference", tmp_path, "--only", "staged", "--repeats", 1]
    done = child(str(ROOT / "benchmarks/gpu.py"), *map(str, words))
    (waits,) = (line for line in done.stdout.splitlines() if line.startswith("waits: "))
    assert re.search("staged/reference/0: .*(dotmap|batches.meta)", waits)


@pytest.mark.slow
def test_data_in_several_compressed_files_are_joined_in_one_folder(tmp_path: Path) -> None:
    pieces = [tmp_path / f"piece{number}" for number in (1, 2)]
    for number, piece in enumerate(pieces, start=1):
        piece.mkdir()
        (piece / f"data_batch_{number}.gz").write_bytes(gzip.compress(b"pixels %d" % number))
    words = ("--out", tmp_path / "out", "--only", "column", "--seconds", 1)
    gpu(*((*words, "--pieces", piece) for piece in pieces))
    folder = tmp_path / "home/data/cifar-10-batches-py"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "data_batch_1": b"pixels 1",
        "data_batch_2": b"pixels 2",
    }


@pytest.mark.slow
def test_variants_of_a_step_are_timed_alternately() -> None:
    words = [sys.executable, str(ROOT / "benchmarks/cpu_step.py"), "--steps", "1", "--repeats", "1"]
    words += ["--batch-size", "8"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    head, *lines = done.stdout.splitlines()
    assert head == "bf16, threads: 1, n = 1: median (smallest to largest)"
    assert [line.split()[0] for line in lines] == ["plain", "held", "gathered"]
    assert all(re.search(r"clock \d+ \(\d+ to \d+\), \d+\.\d\dx; processor \d+", line) for line in lines)


def test_the_overhead_of_runs_is_their_time_outside_stages(tmp_path: Path) -> None:
    nothing = script(ROOT / "benchmarks/run_overhead.py", tmp_path)
    assert (nothing.status, nothing.out) == (2, "")
    assert "there are no finished runs" in nothing.err
    runs = []
    for seed, more in ((0, 1.0), (1, 3.0)):
        run = a_run("warm", seed)
        spent = sum(row["train_seconds"] for row in run.stages)
        stages = [{**row, "train_seconds": 9.0 * row["train_seconds"] / spent} for row in run.stages]
        stages[0]["probe_seconds"] = 2.0 * seed  # which the user has asked for
        runs.append(replace(run, stages=stages, provenance={**run.provenance, "seconds": 9.0 + more}))
    a_home(tmp_path, runs)
    done = script(ROOT / "benchmarks/run_overhead.py", tmp_path)
    assert done.out == (
        "2 runs, 22.0 s: 9.09% neither training, evaluation, remedy nor probes; "
        "of a run 9.17% (8.33% to 10.00%)\n"
    )


def test_the_loader_is_measured_on_images_that_are_written_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLASTIBENCH_DECODERS", "0")  # the script sets it, too
    words = [tmp_path, "--images", 24, "--epoch", 24, "--batch", 8, "--processes", 0, "--repeats", 1]
    answer = script(ROOT / "benchmarks/loader.py", *words)
    assert answer.status == 0, answer.err
    head, _, _, row, last = answer.out.splitlines()
    assert re.match(r"24 files of (8\d|9\d|1[0-5]\d) kB", head)  # as ImageNet's are
    number, *rates = re.findall(r"\d+", row)
    assert number == "0"
    assert len(set(rates)) == 1
    assert last.startswith("8 devices at 3000 images a second take 24000: ")
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.JPEG")}
    assert len(written) == 34
    assert script(ROOT / "benchmarks/loader.py", *words).status == 0
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.JPEG")}


def test_models_on_the_cpu_are_compared_with_the_products_of_the_same_moment() -> None:
    """By hand: 100 and 200 images a second of 3 MFLOP each, beside products of 1 and 1.5 GFLOP a second."""
    module = runpy.run_path(str(ROOT / "benchmarks/cpu_models.py"))
    found = {"rates": [100.0, 200.0], "flop": 3e6, "peaks": [1e9, 1.5e9], "memory": 2**30, "batch_size": 15}
    row = module["speed_row"]("m", "fp32", found)
    assert row[2:] == ["150 (100 to 200)", "100.0", "0.5", "1.2", "35% (30% to 40%)", "1,024"]
    assert module["table"](["a", "b", "c"], [["1", "2", "3"]]) == (
        "| a | b | c |\n| --- | --- | ---: |\n| 1 | 2 | 3 |"
    )


@pytest.mark.slow
def test_the_shares_of_a_model_on_the_cpu_add_up() -> None:
    words = ("--models", "mlp_bn", "--precisions", "fp32", "--repeats", "1", "--batch-size", "8")
    done = child(str(ROOT / "benchmarks/cpu_models.py"), *words)
    rows = [line for line in done.stdout.splitlines() if line.startswith("| mlp_bn | fp32 |")]
    shares = [int(cell.strip(" %")) for cell in rows[1].split("|")[3:-1]]
    assert sum(shares) == pytest.approx(100, abs=3)
    assert shares[0] > 10, "matrix products"


@pytest.mark.slow
def test_what_a_run_spends_outside_training_is_little() -> None:
    words = ("--task", "digits", "--method", "warm", "--seeds", "1", "--no-mlflow", "--no-estimate")
    settings = ("stages=4", "max_epochs=20", "target_accuracy=none")
    sets = [word for setting in settings for word in ("--set", setting)]
    done = child(str(ROOT / "benchmarks/run_overhead.py"), "--run", *words, *sets, timeout=300)
    assert done.returncode == 0, done.stderr
    (share,) = re.findall(
        r"1 runs, .* s: ([0-9.]+)% neither training, evaluation, remedy nor probes", done.stdout
    )
    assert float(share) < 10, "2 on an idle machine"
    for part in ("counting FLOPs (once a process)", "reading data", "checkpoints", "outside runs"):
        assert f"{part} " in done.stdout
