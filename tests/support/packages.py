"""Packages of third parties, built and tested without a network."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def install(site: Path, roots: list[Path]) -> None:
    """Build the wheels of packages with the backend that they declare, and unpack them into a folder."""
    wheels = site.with_name("wheels")
    wheels.mkdir()
    for root in roots:
        subprocess.run([sys.executable, "-c", BUILD, str(wheels)], cwd=root, check=True, capture_output=True)
    for wheel in wheels.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(site)


def run_tests(site: Path, roots: list[Path]) -> None:
    """Run the tests of packages that are installed in a folder, and end with pytest's status: for a fork."""
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    os.chdir(site)
    with redirect_stdout(sys.stderr):
        sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *(str(root / "tests") for root in roots)]))
