"""Runs on a Ray cluster: nodes execute them and tell their events; the driver alone writes the store."""
