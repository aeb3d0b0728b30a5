"""Listener `probe`: whether hosts and services answer, and how quickly."""
