"""Installed packages."""

from importlib.metadata import PackageNotFoundError, version


def installed_version(package: str) -> str | None:
    """Return the version of an installed package, which is not imported; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
