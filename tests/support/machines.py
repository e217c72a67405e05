"""Machines for tests: namespaces with a network, processes, a host name and folders of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

PROGRAMS = ("ip", "unshare", "nsenter")
NETWORK = "10.213.0"
HEAD = "head"


class Machine:
    """Namespaces with a first process, at whose end the system ends all others of them."""

    def __init__(self, name: str, number: int) -> None:
        self.name, self.address = name, f"{NETWORK}.{number}"
        kinds = ("--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
        words = ["unshare", *kinds, "sleep", "infinity"]
        self._holder = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        self._programs = [self._holder]
        self.first_process = _child_of(self._holder)
        self.check("hostname", name)
        self.ip("link", "set", "lo", "up")

    def words(self, *words: object) -> list[str]:
        """Return the command that executes another one there."""
        entered = ["nsenter", "--target", str(self.first_process), "--all", "--wd=/"]
        return [*entered, *map(str, words)]

    def check(self, *words: object) -> str:
        """Execute a command there and return what it prints."""
        return _output(*self.words(*words))

    def ip(self, *words: object) -> None:
        """Change its network; processes have the numbers that they have here."""
        _output("nsenter", "--target", self.first_process, "--net", "ip", *words)

    def start(self, *words: object, **environment: str) -> subprocess.Popen[str]:
        """Start a program there."""
        program = subprocess.Popen(
            self.words(*words),
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._programs.append(program)
        return program

    def hide(self, *folders: Path | str) -> None:
        """Let folders be empty there, as those of another machine."""
        for folder in folders:
            self.check("mount", "-t", "tmpfs", "none", folder)

    def shut_down(self) -> None:
        """End everything there at once, as if the machine were gone."""
        with suppress(ProcessLookupError):
            os.kill(self.first_process, signal.SIGKILL)
        for program in self._programs:
            if program.stderr is not None and not program.stderr.closed:
                program.communicate(timeout=30)


class Machines:
    """A head and machines that are joined with it by cables."""

    def __init__(self) -> None:
        self._machines: dict[str, Machine] = {}

    def __enter__(self) -> Self:
        """Start the head, whose bridge joins the others."""
        try:
            head = self._machines[HEAD] = Machine(HEAD, 1)
            head.ip("link", "add", "bridge", "type", "bridge")
            head.ip("address", "add", f"{head.address}/24", "dev", "bridge")
            head.ip("link", "set", "bridge", "up")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        """End all machines; their network goes with them."""
        self._end()

    def __getitem__(self, name: str) -> Machine:
        """Return a machine."""
        return self._machines[name]

    def add(self, name: str) -> Machine:
        """Start a machine and join it."""
        head = self._machines[HEAD]
        machine = self._machines[name] = Machine(name, len(self._machines) + 1)
        peer = ("peer", "name", "cable", "netns", machine.first_process)
        head.ip("link", "add", name, "type", "veth", *peer)
        head.ip("link", "set", name, "master", "bridge", "up")
        machine.ip("address", "add", f"{machine.address}/24", "dev", "cable")
        machine.ip("link", "set", "cable", "up")
        return machine

    def cut(self, name: str) -> None:
        """Pull the cable of a machine, whose programs go on."""
        self._machines[HEAD].ip("link", "set", name, "down")

    def _end(self) -> None:
        for machine in self._machines.values():
            machine.shut_down()


@cache
def lacks_machines() -> str | None:
    """Return why namespaces cannot be made and joined here, or None if they can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"needs {missing[0]} (apt-get install iproute2 util-linux)"
    try:
        with Machines() as machines:
            machines.add("other").ip("route", "get", machines[HEAD].address)
    except (AssertionError, OSError, TimeoutError) as error:
        return f"no namespaces of networks and processes can be made here: {error}"
    return None


def _output(*words: object) -> str:
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _child_of(holder: subprocess.Popen[str], seconds: float = 30.0) -> int:
    """Return the process that `unshare` has started, when it is what it is to be."""
    end = time.monotonic() + seconds
    while holder.poll() is None and time.monotonic() < end:
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                name, _, fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")
                if int(fields.split()[1]) == holder.pid and name.endswith("(sleep"):
                    return int(path.parent.name)
        time.sleep(0.05)
    holder.kill()
    raise TimeoutError(holder.communicate()[1].strip() or "unshare has started nothing")
