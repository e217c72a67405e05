"""Finished runs in batches: MLflow returns a run in a millisecond, and a batch of 200 in hardly more."""
