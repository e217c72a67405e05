"""The contract as a library: laws that every plug-in must keep, also one that is not part of this project."""
