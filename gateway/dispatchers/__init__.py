"""Destinations of frames: one file per type."""
