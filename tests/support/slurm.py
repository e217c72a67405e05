"""A Slurm of one node on this machine: Debian's slurm-wlm and munge, which root starts in a folder."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from support.workers import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue", "scancel")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=30
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=5
PartitionName=high Nodes={host} PriorityTier=10 PreemptMode=OFF
"""


def lacks_slurm() -> str | None:
    """Return why Slurm cannot be started here, or None if it can."""
    missing = [name for name in PROGRAMS if _program(name) is None]
    if missing:
        return f"needs Slurm and munge (apt-get install slurm-wlm munge): no {missing[0]}"
    return None if os.geteuid() == 0 else "slurmd runs jobs as root only"


class Slurm:
    """A controller and a node while inside; its commands find it by SLURM_CONF."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start the daemons, and wait until the node is idle."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        ports = _free_ports()
        values = {"folder": self.folder, "host": os.uname().nodename, **ports}
        (self.folder / "slurm.conf").write_text(CONFIG.format(**values), encoding="utf-8")
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        files = [f"--{name}-file={self.folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        socket = f"--socket={self.folder}/munge.socket"
        try:
            self._start("munged", "--foreground", "--force", socket, *files)
            self._wait((self.folder / "munge.socket").exists)
            self._start("slurmctld", "-D", "-f", f"{self.folder}/slurm.conf")
            self._start("slurmd", "-D", "-f", f"{self.folder}/slurm.conf")
            self._wait(lambda: "State=IDLE" in self.run("scontrol", "show", "node", "-o", check=False))
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """Cancel all jobs and stop the daemons."""
        self.run("scancel", "--user=root", check=False)
        time.sleep(2)
        self._stop()

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment in which commands find this Slurm."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def run(self, *words: str, check: bool = True) -> str:
        """Run a command and return its output."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=check, timeout=60
        )
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of each task of an array, or of a job, that is not done."""
        lines = self.run("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_until_done(self, seconds: float) -> None:
        """Wait until no job is left."""
        self._wait(lambda: not self.states(), seconds)

    def _start(self, name: str, *words: str) -> None:
        program = _program(name)
        assert program is not None
        with (self.folder / f"{name}.out").open("wb") as log:
            self._daemons.append(
                subprocess.Popen([program, *words], env=self.environment, stdout=log, stderr=log)
            )

    def _wait(self, done: object, seconds: float = 60.0) -> None:
        assert callable(done)
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, self._logs()
            time.sleep(0.5)

    def _logs(self) -> str:
        texts = [
            path.read_text(errors="replace")[-3000:] for path in sorted(self.folder.glob("*.[lo][ou][gt]"))
        ]
        return "\n".join(texts)

    def _stop(self) -> None:
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")


def _free_ports() -> dict[str, int]:
    first = free_port()
    return {"controller_port": first, "node_port": first + 1}
