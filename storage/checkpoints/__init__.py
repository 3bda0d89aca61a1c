"""LangGraph's checkpoints in an SQLite file."""
