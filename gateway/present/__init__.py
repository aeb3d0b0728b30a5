"""The present state of the running gateway: what was heard last, and its status."""
