"""1-Wire: ids, decoding, sensors by index, and the base of the listeners; the drivers are in a folder."""
