"""The operating system: files, locks, signals, processor, memory and energy."""
