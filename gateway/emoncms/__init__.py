"""`oemgateway emoncms`: the far end proved to a person, and made ready."""
