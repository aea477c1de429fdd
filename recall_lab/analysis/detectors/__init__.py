"""The detectors: each looks for some of the findings in a capture."""
