"""Many captures at once: measured, ranked, kept, drawn, reported."""
