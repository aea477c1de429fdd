"""The catalogue of findings: what each means, from where on, and what to do."""
