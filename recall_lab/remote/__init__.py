"""Captures in object storage: listed, and read by ranges."""
