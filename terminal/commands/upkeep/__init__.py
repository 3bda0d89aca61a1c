"""Commands that look after what is stored, one a file."""
