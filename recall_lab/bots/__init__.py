"""Send bots to meetings through Recall.ai's REST API.

    import recall_lab as rl

    rx = rl.receive(tunnel="ngrok")
    bot = rl.bots.create("https://zoom.us/j/123", rx)
    rl.bots.wait_until(bot, "in_call_recording")
    rl.bots.leave(bot)
    rl.bots.download(bot, "standup.mp3")

The functions use the key and the region of the configuration; :class:`Client` and
:class:`AsyncClient` take others. What is asked (``requests``), what is made of the answers
(``answers``, ``refusals``) and how several requests follow one another (``flow``) is described
once, without any I/O; the two clients differ in how they send and wait, and in nothing else.
``__init__.pyi`` beside this file is the list of the public names.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
