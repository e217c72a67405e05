"""Runs on Ray nodes that have networks, host names and folders of their own: namespaces of this machine."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import command, plugin, program
from support.machines import HEAD, Machine, Machines, lacks_machines
from support.ray_nodes import PATIENCE, num_stages, numbers, temporary_folder, the_record, wait_for

pytestmark = [pytest.mark.heavy, pytest.mark.slow]

PORT = 6379
"""Every machine has all ports for itself."""
SETTINGS = ("stages=4", "max_epochs=1", "width=4", "train_size=130")
STAYS = """
def before_stage(self, learner):
    import platform, time
    from pathlib import Path
    mark = Path({mark!r})
    if learner.stage.index == 2 and not mark.exists():
        mark.write_text(platform.node())
        time.sleep(600.0)
"""
RAY = (sys.executable, "-c", "from ray.scripts.scripts import main; main()")
TRIES = 10
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": 8 * "5eed0000"}
"""Ray lets nobody in who lacks it."""
WATCH = {
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
}
"""Lets the head miss a node after seconds."""


class RayMachines:
    """A head that executes no runs, and machines that do; they see no file of a home folder but the head."""

    def __init__(self, machines: Machines, temporary: str, folder: Path) -> None:
        self.machines, self.temporary = machines, temporary
        self.home, self.states = folder / "home", folder / "states"
        for made in (self.home, self.states):
            made.mkdir()
        self.address = f"{machines[HEAD].address}:{PORT}"
        head = ("--head", "--port", PORT, "--num-cpus", 0, "--include-dashboard", "no")
        self._up(machines[HEAD], *head, "--temp-dir", temporary)

    def add(self, name: str) -> Machine:
        """Add a machine with one core."""
        machine = self.machines.add(name)
        machine.hide(self.temporary, self.home, "/dev/shm")
        node = ("--address", self.address, "--num-cpus", 1)
        self._up(machine, *node)
        return machine

    def run(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        """Start a command on the head."""
        return self.machines[HEAD].start(*program(*words), **(environment or TOKEN))

    def _up(self, machine: Machine, *words: object) -> None:
        """Start Ray there, again if a busy machine does not manage it in the seconds that Ray waits."""
        usual = ("--object-store-memory", 80 * 2**20, "--disable-usage-stats")
        place = (*words, "--node-ip-address", machine.address, *usual)
        for _ in range(TRIES):
            program = machine.start(*RAY, "start", *place, **WATCH, **TOKEN)
            if program.wait(PATIENCE) == 0:
                return
            machine.check(*RAY, "stop", "--force")
        pytest.fail(program.communicate()[1])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayMachines]:
    reason = lacks_machines()
    if reason is not None:
        pytest.skip(reason)
    with temporary_folder() as temporary, Machines() as machines:
        yield RayMachines(machines, temporary, tmp_path_factory.mktemp("cluster"))


def words(folder: Path, file: Path, *more: object) -> list[object]:
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    grid = ("--plugin", file, "--method", "mine", "--task", "digits", "--seeds", 1, "--threads", 1)
    how = ("--checkpoint-interval", 0, "--no-mlflow", "--home", folder)
    return ["run", *grid, *settings, *how, *more]


def test_a_machine_that_does_not_see_the_storage_of_checkpoints_is_named_and_gets_no_run(
    cluster: RayMachines, tmp_path: Path
) -> None:
    blind = cluster.add("blind")
    blind.hide(cluster.states)
    ray = ("--executor", "ray", "--address", cluster.address, "--checkpoint-storage", cluster.states)
    process = cluster.run(*words(cluster.home, plugin(tmp_path, "mine"), *ray))
    _, said = process.communicate(timeout=PATIENCE)
    blind.shut_down()
    assert process.returncode == 1, said
    assert "node blind (10.213.0.2, " in said
    assert f"checkpoint storage {cluster.states} cannot be used: it is not the one that the command" in said
    assert not any(path.is_file() for path in cluster.states.rglob("*"))


def test_a_command_without_the_token_of_the_cluster_is_refused_in_one_line(
    cluster: RayMachines, tmp_path: Path
) -> None:
    ray = ("--executor", "ray", "--address", cluster.address)
    process = cluster.run(*words(tmp_path, plugin(tmp_path, "mine"), *ray), RAY_AUTH_MODE="disabled")
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 2, said
    assert "if it asks for a token, set RAY_AUTH_MODE=token" in said.splitlines()[-1]
    assert len(said.splitlines()) == 2, said


def test_a_run_goes_on_elsewhere_when_the_cable_of_its_machine_is_pulled(
    cluster: RayMachines, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    file = plugin(tmp_path, "mine", STAYS.format(mark=str(mark)))
    ray = ("--executor", "ray", "--address", cluster.address, "--checkpoint-storage", cluster.states)
    names = {"first", "second"}
    seen = {name: cluster.add(name).check("ls", cluster.home) for name in names}
    assert set(seen.values()) == {""}, "a machine saw the home folder"
    process = cluster.run(*words(cluster.home, file, *ray))
    wait_for(mark.exists, process)
    wait_for(lambda: num_stages(cluster.home) >= 2, process)
    name = mark.read_text()
    cluster.machines.cut(name)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, said
    assert f"lost on node {name} (10.213.0." in said
    assert "; it is tried again" in said
    record = the_record(cluster.home)
    before, after = record.provenance["sessions"]
    assert {before["host"], after["host"]} == names
    assert after["stage"] >= 2
    assert not any(path.is_file() for path in cluster.states.rglob("*"))
    assert command(*words(tmp_path / "alone", file, "--jobs", 1)).status == 0
    assert numbers(record) == numbers(the_record(tmp_path / "alone"))
