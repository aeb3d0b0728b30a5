"""What the dispatcher and the listener for MQTT share: settings, the connection, topics, messages."""
