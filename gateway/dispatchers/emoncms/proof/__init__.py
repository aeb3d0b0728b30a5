"""`oemgateway emoncms`: whether an Emoncms takes and keeps what is sent to it, and what it lacks."""
