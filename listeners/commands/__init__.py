"""Commands that concern several kinds of listeners."""
