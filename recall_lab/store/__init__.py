"""Captures in a folder of this machine: written, locked, synced, read, followed."""
