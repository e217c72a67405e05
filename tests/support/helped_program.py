"""A program with a helper process: it prints both process ids, counts stop signals, and ends when told to."""

from __future__ import annotations

import os
import signal
import sys
import time

from plastibench.system.processes import helper_context, serve_parent_alone
from plastibench.system.signals import STOP_SIGNALS


def help_parent() -> None:
    """Do what decoders do about signals, and work forever."""
    serve_parent_alone()
    print(os.getpid(), flush=True)
    time.sleep(600)


def main() -> None:
    """Start a helper; count signals until a line comes, then end without a word to the helper."""
    received: list[int] = []
    for number in STOP_SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))
    helper = helper_context([]).Process(target=help_parent, daemon=True)
    helper.start()
    sys.stdin.readline()
    print(len(set(received)), int(helper.is_alive()), flush=True)
    sys.stdin.readline()
