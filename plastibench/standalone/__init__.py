"""A remedy without the harness: on one's own model, optimizer, loop or checkpoint file."""

from plastibench.standalone.acting import Applied
from plastibench.standalone.in_loop import Remedy, remedy
from plastibench.standalone.once import apply

__all__ = ["Applied", "Remedy", "apply", "remedy"]
