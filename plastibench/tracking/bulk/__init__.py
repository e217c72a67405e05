"""Finished runs in few large rows of MLflow, so that tables can be read from it quickly."""
