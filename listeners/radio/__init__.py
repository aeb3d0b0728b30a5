"""A radio board on a serial port: what its lines mean, the commands it takes, and its baud rate."""
