"""What is kept: the value and the files."""
