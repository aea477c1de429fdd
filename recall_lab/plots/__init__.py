"""Pictures and text out of numbers."""
