"""Receivers that run beside a notebook or a terminal: started, found again, stopped."""
