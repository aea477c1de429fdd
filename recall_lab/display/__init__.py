"""Pictures out of numbers."""
