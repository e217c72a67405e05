"""Recipes of papers that several tasks offer by name."""

from collections.abc import Mapping
from typing import Any

DASH_RECIPES: Mapping[str, Mapping[str, Any]] = {
    "sota": {
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "schedule": "steps",
        "milestones": (60, 120, 160, 200),
        "decay": 0.2,
        "warmup_epochs": 1,
        "max_epochs": 260,
        "augment": True,
    }
}
"""The second setting of the DASH code (arXiv 2410.23495, C.4.1; the text has no milestone at 160)."""
