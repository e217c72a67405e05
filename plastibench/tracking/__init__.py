"""A mirror of the store in MLflow: no other room imports mlflow, and no run needs it."""

from plastibench.tracking.experiment import leaderboard_links
from plastibench.tracking.server import DATABASE, TrackingServer, is_available

__all__ = ["DATABASE", "TrackingServer", "is_available", "leaderboard_links"]
