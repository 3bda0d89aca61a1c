"""What is to be done at its time: when it is due, and what is stored of it."""
