"""Values from an MQTT broker."""
