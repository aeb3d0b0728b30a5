"""Frames to an MQTT broker: the present state, for Home Assistant, and a log of every frame."""
