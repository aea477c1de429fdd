"""What travels: pure functions and frozen values. No I/O, no clock."""
