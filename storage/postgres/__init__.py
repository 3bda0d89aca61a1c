"""Postgres, where processes on several machines share it."""
