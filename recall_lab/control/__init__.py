"""What a receiver is told and what it tells: values that travel over its control socket."""
