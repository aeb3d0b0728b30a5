"""Whether the wall clock can be trusted, and when a reading was taken."""
