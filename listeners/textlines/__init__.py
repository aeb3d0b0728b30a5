"""Listeners that read lines of text: from a serial port, a TCP port or a program."""
