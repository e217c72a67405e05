"""The training protocol: stages, steps, evaluation and what they cost."""
