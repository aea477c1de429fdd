"""What is wrong with a capture, in words: detectors, and the one list of what they can find."""
