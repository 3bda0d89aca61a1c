"""What really happened: calls, decisions, usage and threads, outside the state."""
