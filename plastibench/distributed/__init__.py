"""One run on several devices: the processes that train it together."""
