"""oemgateway.conf: read, checked, described and edited."""
