"""What the tests of the messages share."""

from __future__ import annotations

from hypothesis import settings

# a slow machine is no failure: how long an example takes is measured in benchmarks/
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
