"""What a turn is, did and took."""
