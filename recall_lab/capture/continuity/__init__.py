"""The rule of discontinuities: where stamps and samples disagree for good."""
