"""Child processes send messages to their parent and do not outlive it."""

from __future__ import annotations

import subprocess
import sys
from multiprocessing import Pipe

from plastibench.system.signals import send_to_parent

ORPHAN = """
from multiprocessing import Pipe
from plastibench.system.signals import send_to_parent
ours, parents = Pipe()
parents.close()
send_to_parent(ours, "alive")
print("still running")
"""


def test_sent_message_is_received() -> None:
    ours, parents = Pipe()
    send_to_parent(ours, {"seed": 3})
    assert parents.recv() == {"seed": 3}


def test_process_without_a_parent_exits_silently() -> None:
    done = subprocess.run([sys.executable, "-c", ORPHAN], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")
