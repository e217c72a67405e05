"""The scripts that run other code: on a program that logs as that code does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = """
import argparse, types, wandb

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int)
parser.add_argument("--model")
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


def test_the_first_stage_is_trained_once_and_then_forked(tmp_path: Path) -> None:
    checkout, data, out = tmp_path / "code", tmp_path / "data", tmp_path / "out.jsonl"
    checkout.mkdir()
    data.mkdir()
    (checkout / "main.py").write_text(PROGRAM)
    (data / "here").write_text("yes")
    words = ["--reference", checkout, "--data", data, "--out", out, "--seed", "7", "--stages", "3"]
    words += ["--methods", "cold,sp", "--model", "resnet18"]
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/reference_run.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
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
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/vs_reference.py"), *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:7] == ["cold", "1", "acc", "32.00", "+-", "1.00", "(3)"]
    assert "152.00 +- 1.00 (3)" in lines[2]
