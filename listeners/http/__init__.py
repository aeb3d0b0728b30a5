"""Devices post here as they would to Emoncms."""
