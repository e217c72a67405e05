"""The error of a rank that is left alone."""


class RankLostError(RuntimeError):
    """Another process of the run is gone, or has left it."""

    def __init__(self) -> None:
        super().__init__("another process that trains this run is gone")
