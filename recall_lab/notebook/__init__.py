"""What runs in a notebook only: the panel, the explorer, players, magics."""
