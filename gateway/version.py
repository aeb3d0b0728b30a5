"""The version, where packaging and the command both find it."""

VERSION = "0.1.0"
