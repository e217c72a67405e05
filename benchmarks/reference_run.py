"""Run the DASH reference code, unchanged, from a checkout given by its path; print one JSON line a stage.

The script is executed as its README says, with command line arguments alone. Two things are
supplied from outside, because it cannot run without them: a module `wandb` that hands what it
logs to this program, and the md5 sums of the CIFAR-10 files at hand where they are not the
published ones (--md5). Nothing of the reference code is part of this project.

The first stage is the same for every method that acts between stages (same seed, same
stream of random numbers), so it is trained once and the process is then forked, one child a
method. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import runpy
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

EXIT_DONE = 0


class StageLimit(Exception):  # noqa: N818 - a way out of a loop, not an error
    """Ends the reference's loop after the last stage asked for."""


class GraphCapturer(types.ModuleType):
    """Stand in for wandb: `log` is called by the reference once at the end of each stage."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__("wandb")
        self.options = options
        self.run = types.SimpleNamespace(name="")
        self.config = types.SimpleNamespace(update=self._settings)
        self.settings: Any = None
        self.forked = options.alone is not None
        self.started = self.begun = time.perf_counter()

    def init(self, **_: object) -> None:
        """Accept the call that opens a run."""

    def _settings(self, settings: object, **_: object) -> None:
        self.settings = settings
        self.begun = time.perf_counter()  # the imports are done; the data are not yet read

    def log(self, logs: dict[str, float], step: int) -> None:
        """Write one stage, fork after the first, stop after the last."""
        if step == 1 and not self.forked:
            for method in self.options.methods:
                self._child(method)
            raise StageLimit
        self._write(logs, step)
        if step >= self.options.stages:
            raise StageLimit

    def _child(self, method: str) -> None:
        if os.fork():
            os.wait()
            return
        self.forked = True
        self.settings.train_type = method
        # The parent's call of log() returns in the child as if it were the only run.
        raise _Resume

    def _write(self, logs: dict[str, float], step: int) -> None:
        row = {
            "code": "reference",
            "method": self.settings.train_type,
            "seed": self.options.seed,
            "stage": step - 1,
            "test_accuracy": logs["train_metrics/test_acc"],
            "steps": int(logs["train_metrics/num_steps"]),
            "epochs": int(logs["train_metrics/num_epochs"]),
            "seconds": time.perf_counter() - self.started,
            "stage_seconds": time.perf_counter() - self.begun,
        }
        self.begun = time.perf_counter()
        with self.options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


class _Resume(BaseException):
    """Raised in a freshly forked child and caught at once by `forking`."""


def forking(recorder: GraphCapturer) -> None:
    """Wrap `log` so that a child goes on behind the call that forked it."""
    plain = recorder.log

    def log(logs: dict[str, float], step: int) -> None:
        try:
            plain(logs, step)
        except _Resume:
            plain(logs, step)

    recorder.log = log  # type: ignore[method-assign]


def md5_lists(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (file name, md5) from the output of md5sum."""
    for line in path.read_text(encoding="utf-8").splitlines():
        digest, name = line.split()
        yield Path(name).name, digest


def accept(path: Path) -> None:
    """Let torchvision accept the CIFAR-10 files whose md5 sums are listed in `path`."""
    import torchvision

    sums = dict(md5_lists(path))
    cifar10 = torchvision.datasets.CIFAR10
    cifar10.train_list = [[name, sums[name]] for name, _ in cifar10.train_list]
    cifar10.test_list = [[name, sums[name]] for name, _ in cifar10.test_list]


def main() -> None:
    """Parse the arguments and run the reference's main program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True, help="checkout of the reference code")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--md5", type=Path, help="md5sum list of CIFAR-10 files to accept")
    parser.add_argument(
        "--methods", type=lambda text: text.split(","), default=["cold", "warm", "sp", "dash"]
    )
    parser.add_argument(
        "--alone", metavar="METHOD", help="run one method, unforked: a CUDA device needs that"
    )
    parser.add_argument("--seed", type=int, default=2021)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True, help="JSON lines are appended to this file")
    options, rest = parser.parse_known_args()
    options.out = options.out.resolve()
    reference, data = options.reference.resolve(), options.data.resolve()
    recorder = GraphCapturer(options)
    forking(recorder)
    sys.modules["wandb"] = recorder
    if options.md5:
        accept(options.md5)
    sys.path.insert(0, str(reference))
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        (Path(scratch) / "data").symlink_to(data)
        alone = ["--train_type", options.alone] if options.alone else []
        sys.argv = ["main.py", "--seed", str(options.seed), *alone, *rest]
        with contextlib.suppress(StageLimit):
            runpy.run_path(str(reference / "main.py"), run_name="__main__")
        if recorder.forked and not options.alone:
            os._exit(EXIT_DONE)  # the folder is the parent's, and the other children's
    os._exit(EXIT_DONE)


if __name__ == "__main__":
    main()
