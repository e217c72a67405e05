"""Progress of a check: how many laws have been tried, and the last one."""

from rich.text import Text

from plastibench.display.screen import LiveDisplay
from plastibench.errors import count
from plastibench.testing.law_suite import LawResult


class LawProgress(LiveDisplay):
    """Show which law was tried last; how many there will be depends on the plug-in."""

    num_laws = num_failed = 0
    last = ""

    def on_result(self, result: LawResult) -> None:
        """Count a law."""
        self.num_laws += 1
        self.num_failed += result.verdict == "failed"
        self.last = f"{result.verdict}: {result.law}"

    def fraction(self) -> None:
        """Return nothing: the number of laws is not known."""

    def __rich__(self) -> Text:
        """Return one line."""
        tried = f"{count(self.num_laws, 'law')} tried, {self.num_failed} broken"
        return Text(f"{tried}  {self.elapsed()} elapsed  {self.last}", overflow="ellipsis", no_wrap=True)
