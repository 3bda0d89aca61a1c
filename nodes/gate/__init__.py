"""What may run, what is asked, what was answered."""
