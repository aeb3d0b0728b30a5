"""The SQLite file that the queue is in: its tables, and what a damaged one still gives."""
