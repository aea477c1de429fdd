"""Where one sound lies in another, piece by piece."""
