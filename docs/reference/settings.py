"""The settings that all recipes, all classification tasks or all methods have."""

from pages import settings_table

from plastibench.plugins.classification_task import ClassificationTask
from plastibench.plugins.method import Method
from plastibench.plugins.recipe import Recipe

CLASSES = {"recipe": Recipe, "task": ClassificationTask, "method": Method}


def page(name: str) -> str:
    """Return the table of one of `CLASSES`."""
    return settings_table(CLASSES[name])
