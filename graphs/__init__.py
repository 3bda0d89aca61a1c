"""The map: which step follows which, and how a program opens it."""

from graphs.shadowing import check_house

check_house()  # looks without importing, so that an intruder is named before its code is taken for ours
