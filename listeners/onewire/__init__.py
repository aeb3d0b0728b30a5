"""1-Wire: ids, decoding and slots, and then the ways to the bus."""
