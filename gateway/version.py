"""The version, where packaging and the command both find it."""

VERSION = "0.1.0"

MADE = 1_795_564_800.0
"""When this version was made, in Unix time: no correct clock shows an earlier time."""
