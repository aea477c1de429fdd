"""The process that receives: connections, messages, what is kept and what is dropped."""
