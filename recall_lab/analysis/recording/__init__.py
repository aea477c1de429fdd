"""A capture and other audio: compared, repaired, mixed, exported; who is heard in whose stream."""
