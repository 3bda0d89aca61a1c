"""What only the served graph needs."""
