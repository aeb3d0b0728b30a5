"""The SQLite file of the queue: its tables, when it is synced, and what can be read of a damaged one."""
