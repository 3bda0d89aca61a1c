"""The commands on conversations."""
