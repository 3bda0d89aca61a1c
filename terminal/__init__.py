"""The terminal: what a person types, reads and agrees to."""
