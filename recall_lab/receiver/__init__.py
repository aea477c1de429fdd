"""How audio comes in: the websocket server, the receiver in front of it, the stand-in bot."""
