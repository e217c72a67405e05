"""A mirror of the store in MLflow: nothing else imports mlflow, and no run needs it."""

from plastibench.tracking.experiment import leaderboard_links
from plastibench.tracking.server import DATABASE, TrackingServer, page_app_options

__all__ = ["DATABASE", "TrackingServer", "leaderboard_links", "page_app_options"]
