"""One HTML page that holds everything about a set of finished runs and asks nothing of a network."""
