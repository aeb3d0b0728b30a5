"""A thread for each plugin, and what it does on failure."""
