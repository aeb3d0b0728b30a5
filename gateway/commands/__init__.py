"""The `oemgateway` command; a subcommand is a file with `add(commands)` and `run(options)`."""
