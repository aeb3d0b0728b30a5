"""Text: numbers read from it, and lines that are safe to print."""
