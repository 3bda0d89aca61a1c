"""The commands on what is to be done at its time."""
