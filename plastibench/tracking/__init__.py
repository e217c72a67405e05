"""A mirror of the store in MLflow; nothing outside this folder imports mlflow, and no run needs it."""

from plastibench.tracking.server import DATABASE, Server, available, leaderboards

__all__ = ["DATABASE", "Server", "available", "leaderboards"]
