"""What tests share: captures, meetings and servers to try things on."""
