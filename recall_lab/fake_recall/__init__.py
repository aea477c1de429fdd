"""A stand-in of Recall.ai on this machine: its REST API and its bots."""
