"""Models: which there are, how one is opened and called, what its reply says."""
