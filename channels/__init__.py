"""Where people talk to it in programs of their own."""
