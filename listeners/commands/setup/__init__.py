"""`oemgateway setup`: from what is attached to a configuration that runs, by questions."""
