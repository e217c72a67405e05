"""My idea keeps what plastibench demands of a method."""

from plastibench.runner.workspace import Workspace
from plastibench.workflows.check import CheckRequest, check


def test_it_keeps_every_law() -> None:
    results = check(CheckRequest(name="my_idea", workspace=Workspace()))
    assert [result for result in results if result.verdict == "failed"] == []
