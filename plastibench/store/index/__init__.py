"""A cache of finished runs for fast tables; it can be deleted at any time."""
