"""Numbers out of packets: gaps, timeline, drift, jitter, loss, playout."""
