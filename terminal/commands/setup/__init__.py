"""Commands that set it up, and tell whether it is."""
