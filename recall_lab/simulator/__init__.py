"""The stand-in bot: plays calls and meetings with faults, and knows the truth of them.

    meeting = rl.simulator.read_meeting("data/standup.wav")
    truth = rl.simulate_meeting(meeting, rx.url)

``rl.simulate``, ``rl.start_simulation`` and ``rl.Faults`` are at hand in ``rl`` too.
``__init__.pyi`` beside this file is the list of the public names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
