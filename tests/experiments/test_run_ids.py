"""Run ids survive: a change of the core or of a shipped plug-in that makes finished runs new ones is noticed.

If a test fails because of an intended change of results, or of a setting's name, say so in the CHANGELOG
and write the file again: `python tests/experiments/test_run_ids.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from plastibench.errors import RequestError
from plastibench.experiments.grid import Grid
from plastibench.plugins.registry import Registry

FILE = Path(__file__).with_name("run_ids.json")


OWN_DATA = {"table": {"file": "rows.csv"}, "image_folder": {"folder": "images"}}
"""Settings of tasks that read data of the user's own, which `in_own_data` writes."""


def grids(registry: Registry) -> dict[str, Grid]:
    """Return one grid for each shipped plug-in, each with one run."""
    found = {f"method {name}": _grid_of_method(registry, name) for name in registry.names("method")}
    found |= {
        f"task {name}": Grid((name,), ("warm",), settings=OWN_DATA.get(name, {}))
        for name in registry.names("task")
    }
    found |= {
        f"model {name}": Grid(("cifar10",), ("warm",), models=(name,)) for name in registry.names("model")
    }
    buffer = {"regime": "buffer", "buffer": "100"}
    found |= {
        f"regime {name}": Grid(
            ("digits",), ("warm",), settings=buffer if name == "buffer" else {"regime": name}
        )
        for name in registry.names("regime")
    }
    found |= {
        f"probe {name}": Grid(("digits",), ("warm",), probes=(name,)) for name in registry.names("probe")
    }
    return {**found, "recipe sota": Grid(("cifar10",), ("warm",), recipe="sota")}


def _grid_of_method(registry: Registry, name: str) -> Grid:
    """Return a grid on the first of two tasks that the method can run on."""
    digits, images = (Grid((task,), (name,)) for task in ("digits", "cifar10"))
    try:
        digits.specs(registry)
    except RequestError:  # it needs what digits do not have, such as an augmentation
        return images
    return digits


@contextmanager
def in_own_data() -> Iterator[None]:
    """Work in a folder with the data of `OWN_DATA`; its path is in no id."""
    with TemporaryDirectory() as folder, chdir(folder):
        Path("rows.csv").write_text("a,label\n1,x\n2,y\n3,x\n", encoding="utf-8")
        for name in ("a", "b"):
            Path("images", name).mkdir(parents=True)
        yield


def ids(registry: Registry) -> dict[str, str]:
    """Return the ids of the first run of each grid."""
    with in_own_data():
        return {name: grid.specs(registry)[0].id for name, grid in grids(registry).items()}


def test_ids_of_runs_are_those_of_earlier_versions(registry: Registry) -> None:
    expected = json.loads(FILE.read_text(encoding="utf-8"))
    assert ids(registry) == expected


if __name__ == "__main__":
    FILE.write_text(json.dumps(ids(Registry()), indent=1) + "\n", encoding="utf-8")
