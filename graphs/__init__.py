"""The map: which step follows which, and how a program opens it."""
