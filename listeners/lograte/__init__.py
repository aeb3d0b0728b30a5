"""Listener `lograte`: how often patterns match in a log file."""
