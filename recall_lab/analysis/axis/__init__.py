"""The true time axis: where each packet stands on it, and samples read along it."""
