"""`oemgateway sensors`: what is on the 1-Wire buses."""
