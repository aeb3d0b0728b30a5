"""This process on its machine: its log, its state files, the socket for commands, its supervisor, its end."""
