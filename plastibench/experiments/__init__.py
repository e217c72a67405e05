"""Which runs there are: specs, grids and suites."""
