"""What forked programs find imported: torch, its compiler, the command line, and what a run imports late."""

import importlib

import torch

torch.set_num_threads(1)
torch.optim.SGD([torch.zeros(1)])
torch.compiler.list_backends()
for name in ("cli.commands.run", "cli.run_output", "display.runs", "workflows.run", "api"):
    importlib.import_module(f"plastibench.{name}")
