"""What runs only in a notebook: the panel, the explorer, players."""
