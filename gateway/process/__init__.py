"""This process on its machine: its log, the socket for commands, its supervisor, its end."""
