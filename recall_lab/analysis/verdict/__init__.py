"""What follows from the findings: the verdict, quality, policies."""
