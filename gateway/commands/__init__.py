"""The subcommands of `oemgateway`."""
