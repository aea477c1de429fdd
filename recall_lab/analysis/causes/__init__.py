"""Why audio is missing: named rules over the evidence."""
