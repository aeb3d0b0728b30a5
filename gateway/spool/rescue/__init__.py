"""What a damaged file of the queue still gives."""
