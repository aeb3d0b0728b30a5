"""The history on the card: what it keeps, and how it is drawn."""
