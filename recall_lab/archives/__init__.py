"""Finished captures copied elsewhere, and compared afterwards."""
