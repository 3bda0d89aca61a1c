"""The map: which step follows which, and how a program opens it."""

from graphs.shadowing import check_shadowing

check_shadowing()  # looks without importing, so that an intruder is named before its code is taken for ours
