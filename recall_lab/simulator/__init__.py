"""The stand-in bot: plays calls and meetings with faults, and knows the truth of them."""
