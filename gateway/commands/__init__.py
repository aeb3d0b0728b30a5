"""One file per subcommand of `oemgateway`: `add(commands)` adds its parser, `run(options)` runs it."""
