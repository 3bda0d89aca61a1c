"""What is to be done at its time, and when that is."""
