"""The three clocks of a capture as numbers: their rates, and delays between them."""
