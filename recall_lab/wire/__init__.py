"""What travels: pure functions and frozen values. No I/O, no clock.

``rl.wire`` is for those who write a receiver or a sender of their own:

    message = rl.wire.decode_message(text)

``__init__.pyi`` beside this file is the list of the public names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
