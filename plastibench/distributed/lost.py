"""The error of a rank that is left alone."""

GONE = "another process that trains this run is gone"


class RankLostError(RuntimeError):
    """Another process of the run is gone, has left it, or has not come."""

    def __init__(self, message: str = GONE) -> None:
        super().__init__(message)
