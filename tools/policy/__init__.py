"""Who may do what, and what a person must agree to."""
