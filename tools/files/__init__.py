"""The workspace's files."""
