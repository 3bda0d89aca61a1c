"""Models: which there are, how they are called, what they reply."""
