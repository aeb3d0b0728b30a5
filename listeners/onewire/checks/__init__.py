"""What `oemgateway doctor` checks for 1-Wire."""
