"""The steps: each reads the state and returns what changes."""
