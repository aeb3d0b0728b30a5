"""Simulated hardware, at the lowest boundary: what the demo runs on."""
