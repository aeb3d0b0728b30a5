"""The daemon: it knows no sensor, only frames, plugins and the disk between them."""
