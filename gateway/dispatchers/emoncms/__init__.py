"""Delivery to Emoncms, and `oemgateway emoncms`, which proves it."""
