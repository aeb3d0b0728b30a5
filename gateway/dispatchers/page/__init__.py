"""Dispatcher `page`: the values and the state of the gateway, for a browser."""
