"""Numbers out of a capture."""
