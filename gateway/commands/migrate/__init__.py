"""`oemgateway migrate`: the configuration of an emonhub or an oem_gateway as an oemgateway.conf."""
