"""Dispatcher `influxdb`: InfluxDB 1 to 3, and what takes its line protocol."""
