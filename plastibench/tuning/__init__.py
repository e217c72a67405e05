"""Tuning with Optuna: the same budget for every method, on validation data.

`search_space` and `plan` turn a request into studies, `study` proposes their trials within a budget,
`trial_runner` executes a trial as runs of the store, `worker_pool` has several workers, `export` writes the
best settings as a suite, `summary` and `plots` show the outcome.
"""
