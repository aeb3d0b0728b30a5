"""A radio board on a serial port: what its lines mean, what it is told, and at which speed it speaks."""
