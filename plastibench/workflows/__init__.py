"""One workflow per command: takes a typed request, returns values, raises errors."""
