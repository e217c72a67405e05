"""What `plastibench plan` says of a suite, and what its runs then take: two small suites of different kinds.

    python benchmarks/plan_accuracy.py [--suite images] [--suite rows] [--repeats 1] [--clock processor]

Each suite is planned in an empty home folder, without earlier runs, and then executed in another one, by the
commands' own code, one run after the other in this process. Printed is a line of a table for each repetition:
the planned seconds and their range, the seconds that the runs took, and the ratio. On a machine that does
other things, too, `--clock processor` counts the seconds of the processor in both, not those that pass.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS = ("cold", "warm", "shrink_perturb", "dash")
SUITES: dict[str, dict[str, Any]] = {
    "images": {
        "tasks": ("digits",),
        "models": ("small_resnet",),
        "settings": {"stages": "8", "train_size": "400", "width": "8"},
    },
    "rows": {"tasks": ("table",), "models": ("mlp_bn",), "settings": {"stages": "8"}},
}
NUM_ROWS, NUM_COLUMNS = 1000, 12
HEADER = "| suite | runs | calibration | planned | range | took | planned / took | in range |"


def write_rows(path: Path) -> None:
    """Write a table of three classes that a network learns in some epochs."""
    draw = random.Random(0)
    centers = [[draw.gauss(0, 1) for _ in range(NUM_COLUMNS)] for _ in range(3)]
    lines = [",".join([*(f"x{column}" for column in range(NUM_COLUMNS)), "label"])]
    for _ in range(NUM_ROWS):
        label = draw.randrange(3)
        values = (f"{center + draw.gauss(0, 0.7):.4f}" for center in centers[label])
        lines.append(",".join([*values, "abc"[label]]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(name: str, seed: int, calibration: float) -> str:
    """Plan a suite, execute it, and return the line of the table."""
    from plastibench.runner.workspace import Workspace
    from plastibench.store.run_metrics import total_cost
    from plastibench.workflows.plan import PlanRequest, plan
    from plastibench.workflows.request import RunOptions, RunRequest, Selection
    from plastibench.workflows.run import run

    with tempfile.TemporaryDirectory() as folder:
        suite = dict(SUITES[name])
        if suite["tasks"] == ("table",):
            write_rows(Path(folder, "rows.csv"))
            suite["settings"] = {**suite["settings"], "file": str(Path(folder, "rows.csv")), "label": "label"}
        options = RunOptions(jobs=1, threads=1, mlflow=False, estimate=False)

        def selection(home: str) -> Selection:
            workspace = Workspace(home=Path(folder, home))
            return Selection(workspace=workspace, methods=METHODS, seeds=(seed,), **suite)

        found = plan(PlanRequest(selection=selection("plan"), options=options, calibration=calibration))
        start = time.perf_counter()
        result = run(RunRequest(selection=selection("run"), options=options))
        took = time.perf_counter() - start
        records = result.records
    if result.failures:
        raise RuntimeError(next(iter(result.failures.values())))
    for method in found.methods:
        runs = [record for record in records if record.spec.method.name == method.method]
        each = sum(total_cost(record.stages)["seconds"] or 0.0 for record in runs) / len(runs)
        planned = f"{method.run_seconds:.2f} s a run planned by {method.source}"
        print(f"  {method.method}: {planned}, {each:.2f} s taken")
    low, high = found.seconds_range
    return (
        f"| {name} | {result.num_runs} | {calibration:.0f} s | {found.seconds:.1f} s "
        f"| {low:.1f} to {high:.1f} s | {took:.1f} s | {found.seconds / took:.2f} "
        f"| {'yes' if low <= took <= high else 'no'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--suite", action="append", choices=SUITES, help="default: all")
    parser.add_argument("--repeats", type=int, default=1, help="each with other seeds")
    parser.add_argument("--calibration", type=float, default=60.0, help="most seconds, as for `plan`")
    parser.add_argument("--clock", choices=("wall", "processor"), default="wall")
    options = parser.parse_args()
    if options.clock == "processor":  # before plastibench takes the clock
        time.perf_counter = time.process_time
    lines = [
        measure(name, repeat, options.calibration)
        for name in options.suite or SUITES
        for repeat in range(options.repeats)
    ]
    print("\n".join([HEADER, "|---" * HEADER.count(" | ") + "|---|", *lines]))


if __name__ == "__main__":
    main()
