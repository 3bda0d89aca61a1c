"""Pages, searches and requests."""
