"""What `oemgateway doctor` looks at, and what it says."""
