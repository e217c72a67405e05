"""My idea, a method for plastibench."""
