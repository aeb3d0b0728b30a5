"""How the running gateway is now: what was heard last, and its status."""
