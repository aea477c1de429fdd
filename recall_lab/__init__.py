"""recall_lab: the lab bench for meeting-bot audio.

    import recall_lab as rl

    rx = rl.receive(port=3456, directory="captures")
    truth = rl.simulate("data/standup.wav", rx.url, speed=10, faults=rl.Faults(loss=0.02, seed=7))
    rx.packets()
    rx.stop()
    cap = rl.load("captures/....bin")

What a user of a call needs is here; ``rl.bots``, ``rl.errors``, ``rl.simulator`` and ``rl.wire``
hold the rest. Each name is loaded when it is first used, so that importing costs next to nothing.
``__init__.pyi`` beside this file is the list of them.
"""

from recall_lab import children

children.leave_working_folder()  # before anything is looked for that may have been planted there

import lazy_loader  # noqa: E402

from recall_lab.version import __version__ as __version__  # noqa: E402

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
