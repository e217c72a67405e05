"""How fast a device trains the models."""
