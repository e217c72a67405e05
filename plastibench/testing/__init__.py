"""Laws that every plug-in must obey, as a library for plug-ins of other projects too."""
