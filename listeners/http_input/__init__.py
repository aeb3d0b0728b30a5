"""Devices that post to Emoncms' input API, taken in here instead."""
