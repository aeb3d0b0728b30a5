"""`oemgateway emoncms`: the proof that an Emoncms takes and keeps what is sent, and what it lacks for that."""
