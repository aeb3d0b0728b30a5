"""The SQLite file that the queue is in: its tables, when it is synced, and what a damaged one still gives."""
