"""Messages to and from other programs, and what people are told there."""
