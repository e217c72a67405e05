"""What processes that execute runs find imported: they are forked from a process that has imported this file.

Importing torch takes seconds, which are spent once and not once a process. Nothing here may start a thread
or use a device: neither survives the fork.
"""

from __future__ import annotations

import torch

import plastibench.runner.execute
import plastibench.training.protocol  # noqa: F401

torch.optim.SGD([torch.zeros(1)])  # torch imports its compiler, which takes a second, for the first optimizer
