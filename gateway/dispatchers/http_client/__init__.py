"""Requests over HTTP for any dispatcher: limited in time and size, and every failure in words."""
