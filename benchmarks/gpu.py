"""Fill the GPU rows of the table of speeds, in commands of under ten minutes each.

    python benchmarks/gpu.py --out FOLDER --data FOLDER --reference CHECKOUT
    python benchmarks/gpu.py --dry-run    # every part at a tiny size, on the CPU

Results go to `results.jsonl` in the folder of --out, one line each; `table.md` there is made of them, and
`runs.tgz` has the records of finished runs, for `plastibench merge`. Nothing is measured twice: the same
command continues where the one before ran out of time. On a machine that keeps nothing, pass the lines of
earlier commands with --known. CIFAR-10 may come in parts: files of `cifar-10-batches-py`, gzipped or not,
found under --pieces are gathered in the home folder, and what needs the data waits for all six batches. The
row of the reference code waits for its checkout, the package dotmap and the file `batches.meta`. Of this
project's packages only torch and numpy are needed; if it is not installed, export PYTHONPATH.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plastibench.devices import Device

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(tempfile.gettempdir()) / "plastibench-gpu"
"""Outside --out: that folder may be emptied between commands, and should be small enough to send back."""
sys.path.insert(0, str(ROOT))

Row = dict[str, Any]


class Results:
    """Lines of what was measured, by key; one that failed is tried again."""

    def __init__(self, path: Path, known: Iterable[Path], where: Row) -> None:
        self.path, self.where = path, where
        self.rows: list[Row] = []
        for file in (*known, path):
            self.rows += [row for row in _lines(file) if where.items() <= row.items()]

    def done(self, key: str) -> bool:
        return any(row["key"] == key and "failed" not in row for row in self.rows)

    def add(self, key: str, row: Row) -> None:
        whole = {"key": key, **self.where, **row}
        self.rows.append(whole)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(whole) + "\n")
        print(key, json.dumps(row)[:200], flush=True)


def _lines(path: Path) -> Iterator[Row]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            yield json.loads(line)
        except ValueError:  # cut off when its command was killed
            continue


def gather(pieces: Path, data: Path) -> None:
    """Put the files of CIFAR-10 that lie under `pieces` where the data are looked for."""
    folder = data / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    for source in sorted(path for path in pieces.rglob("*") if path.is_file()):
        target = folder / source.name.removesuffix(".gz")
        if not target.exists():
            part = target.with_suffix(".part")
            opened = gzip.open if source.suffix == ".gz" else open
            with opened(source, "rb") as given, part.open("wb") as taken:
                shutil.copyfileobj(given, taken)
            part.replace(target)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--out", type=Path, help="folder of results.jsonl and table.md; needed unless --dry-run"
    )
    parser.add_argument("--home", type=Path, default=HOME, help="folder of unfinished runs and of --pieces")
    parser.add_argument("--data", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument(
        "--pieces", type=Path, help="folder of some of its files, to be kept in the home folder"
    )
    parser.add_argument(
        "--edition", default="official", help="official or restored, as the CIFAR-10 task says"
    )
    parser.add_argument("--known", type=Path, nargs="*", default=[], help="results.jsonl of earlier commands")
    parser.add_argument("--reference", type=Path, help="checkout of the DASH reference code")
    parser.add_argument(
        "--md5", type=Path, help="md5sum list of CIFAR-10 files that the reference is to accept"
    )
    parser.add_argument("--only", help="parts, separated by commas: speed,equal,together,staged,column")
    parser.add_argument("--rows", default="", help="regular expression: measure only rows whose key matches")
    parser.add_argument("--repeats", type=int, default=3, help="repeats of each run beside the reference")
    parser.add_argument("--seconds", type=float, default=540.0, help="nothing is begun that would end later")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the column")
    parser.add_argument("--jobs", type=int, help="runs of the column side by side; default: measured best")
    parser.add_argument(
        "--mps", action="store_true", help="measure runs side by side under NVIDIA's MPS, too"
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that the script works")
    parser.add_argument("--dry-run", action="store_true", help="the same on the CPU, in temporary folders")
    options = parser.parse_args()
    if options.dry_run:
        options.quick, options.device, options.jobs = True, "cpu", options.jobs or 1
        folder = Path(tempfile.mkdtemp())
        options.out, options.home = options.out or folder / "out", folder / "home"
    if options.out is None:
        parser.error("--out names the folder of the results; it is missing")
    return options


def broken_by_failure(device: Device) -> str | None:
    """Return why a device cannot be used any more in this process, or None: CUDA's errors may be sticky."""
    try:
        device.synchronize()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return None


def archive_runs(home: Path, out: Path) -> None:
    """Pack the records of all runs, without checkpoints, so that they can be merged and tabled elsewhere."""

    def without_checkpoints(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        return None if member.name.endswith(".pt") else member

    if (home / "runs").is_dir():
        with tarfile.open(out / "runs.tgz", "w:gz") as archive:
            archive.add(home / "runs", "runs", filter=without_checkpoints)


def main() -> None:
    """Measure what is missing and the time allows, then write the table."""
    from benchmarks import gpu_parts, gpu_table
    from plastibench.devices import get_device
    from plastibench.errors import explain

    options = parsed()
    options.until = time.monotonic() + options.seconds
    options.out.mkdir(parents=True, exist_ok=True)
    options.home = options.home.resolve()
    options.data = (options.data or options.home / "data").resolve()
    if options.pieces:
        gather(options.pieces, options.data)
    device = get_device(options.device)
    where = {"hardware": device.name(), "quick": options.quick}
    results = Results(options.out / "results.jsonl", options.known, where)
    waiting = []
    for part in gpu_parts.parts(options, results):
        if results.done(part.key) or not re.search(options.rows, part.key):
            continue
        if part.waits is not None or time.monotonic() + part.seconds > options.until:
            waiting.append(f"{part.key}: {part.waits or 'no time left, give the command again'}")
            continue
        try:
            row = part.measure()
        except Exception as error:
            row = {"failed": explain(error)}
        results.add(part.key, row)
        if "failed" in row and (broken := broken_by_failure(device)):
            waiting.append(f"all that follows: the device is in an error state ({broken}); start again")
            break
    archive_runs(options.home, options.out)
    (options.out / "table.md").write_text(gpu_table.text(results.rows, where), encoding="utf-8")
    print((options.out / "table.md").read_text(encoding="utf-8"))
    print(*(f"waits: {line}" for line in waiting), sep="\n")


if __name__ == "__main__":
    main()
